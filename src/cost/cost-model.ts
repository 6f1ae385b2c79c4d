import { DTYPE_BYTES } from "../base/units.js";
import type { Cluster } from "../cluster/cluster.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import type { ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { GradientOrder, Precision } from "../plan/plan.js";
import { computeDtype } from "../plan/precision.js";
import { collectiveCurves } from "./collective-curve.js";
import { type CollectiveTimes, collectiveTimes } from "./collective-time.js";
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
  readonly layers: LayerLookup;
  /** Layout changes looked at before, by both layouts and the width of the stage. */
  readonly relayouts: Map<string, RelayoutMove>;
  /** Bytes of one element of an activation. */
  readonly activationBytes: number;
}

export function costModel(
  model: ModelSpec,
  profile: ModelProfile,
  hardware: HardwareProfile,
  gradientOrder: GradientOrder = "deferred",
): CostModel {
  return {
    model,
    precision: profile.precision,
    gradientOrder,
    hardware,
    cluster: hardware.cluster,
    collectives: collectiveTimes(collectiveCurves(hardware)),
    layers: layerLookup(profile),
    relayouts: new Map(),
    activationBytes: DTYPE_BYTES[computeDtype(profile.precision)],
  };
}
