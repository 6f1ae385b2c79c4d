import { DTYPE_BYTES } from "../base/units.js";
import type { Cluster } from "../cluster/cluster.js";
import { type HardwareProfile, type Overlap, withSlowerCollectives } from "../cluster/hardware-profile.js";
import type { ModelProfile, RestSample } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { GradientOrder, Precision } from "../plan/plan.js";
import { computeDtype } from "../plan/precision.js";
import { collectiveCurves } from "./collective-curve.js";
import { type CollectiveTimes, collectiveTimes } from "./collective-time.js";
import { interpolate } from "./interpolate.js";
import { type LayerLookup, layerLookup } from "./layer-lookup.js";
import type { RelayoutMove } from "./relayout-time.js";

/** A model and a machine, made ready for pricing. */
export interface CostModel {
  readonly model: ModelSpec;
  readonly precision: Precision;
  readonly gradientOrder: GradientOrder;
  readonly hardware: HardwareProfile;
  readonly cluster: Cluster;
  readonly collectives: CollectiveTimes;
  /** Of those between graphs: of tensor groups, and where layouts change. */
  readonly betweenGraphs: CollectiveTimes;
  readonly layers: LayerLookup;
  readonly overlap: Overlap;
  readonly rest: readonly RestSample[];
  /** Layout changes looked at before, by both layouts and the width of the stage. */
  readonly relayouts: Map<string, RelayoutMove>;
  /** Bytes of one element of an activation. */
  readonly activationBytes: number;
}

/**
 * What layers take in a pipeline of so many stages and micro-batches, of what they take on a device that never rests:
 * linear between the measured shares of work. On a machine of one device, which rests while it updates, as measured; several
 * devices do, too, but what they gain by that is in the slowdowns that were seen in their plans.
 */
export function restFactor({ rest, cluster }: CostModel, stages: number, microBatches: number): number {
  const [least] = rest;
  if (least === undefined) return 1;
  if (cluster.nodes * cluster.ranksPerNode === 1) return least.timeFactor;
  if (stages === 1) return 1;
  const workShare = microBatches / (microBatches + stages - 1);
  if (workShare <= least.workShare) return least.timeFactor;
  const points = [...rest, { workShare: 1, timeFactor: 1 }];
  return interpolate(
    points.map((point) => point.workShare),
    points.map((point) => point.timeFactor),
    workShare,
  );
}

/** The model with layers as fast as they are in a pipeline of so many stages and micro-batches. */
export function inPipeline(cost: CostModel, stages: number, microBatches: number): CostModel {
  const factor = restFactor(cost, stages, microBatches);
  return factor === 1 ? cost : { ...cost, layers: { ...cost.layers, timeFactor: factor, known: new Map() } };
}

export function costModel(
  model: ModelSpec,
  profile: ModelProfile,
  hardware: HardwareProfile,
  gradientOrder: GradientOrder = "deferred",
): CostModel {
  const { betweenGraphs = 1 } = profile;
  const collectives = collectiveTimes(collectiveCurves(hardware));
  return {
    model,
    precision: profile.precision,
    gradientOrder,
    hardware,
    cluster: hardware.cluster,
    collectives,
    betweenGraphs:
      betweenGraphs === 1
        ? collectives
        : collectiveTimes(collectiveCurves(withSlowerCollectives(hardware, betweenGraphs))),
    layers: layerLookup(profile),
    overlap: profile.overlap ?? hardware,
    rest: profile.rest ?? [],
    relayouts: new Map(),
    activationBytes: DTYPE_BYTES[computeDtype(profile.precision)],
  };
}
