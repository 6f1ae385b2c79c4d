import { GalvatronError } from "../base/errors.js";
import { type HardwareProfile, withSlowerCollectives } from "../cluster/hardware-profile.js";
import type { LayerSample, ModelProfile } from "../model/model-profile.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import type { BatchRange } from "./outer-choice.js";
import { searchOrNull } from "./pareto-front.js";
import type { SearchInputs } from "./search.js";
import type { SearchReport } from "./search-report.js";

/** What to change; everything else stays. */
export interface Change {
  readonly budgetBytes?: number;
  readonly globalBatch?: number | BatchRange;
  readonly nodes?: number;
  readonly ranksPerNode?: number;
  /** Factor on the speed of every collective: 2 is links twice as fast. */
  readonly bandwidth?: number;
  /** Factor on the speed of computing. */
  readonly compute?: number;
  /** Tokens of a sequence. */
  readonly sequence?: number;
}

/** The best plan before and after a change; `null` where nothing fits. */
export interface WhatIf {
  readonly inputs: SearchInputs;
  readonly before: SearchReport | null;
  readonly after: SearchReport | null;
  /** Throughput after over before, in samples per second; `null` where one of them is missing. */
  readonly speedup: number | null;
}

function mustBePositive(change: Change): void {
  for (const [name, value] of Object.entries(change)) {
    if (typeof value !== "number" || (Number.isFinite(value) && value > 0)) continue;
    throw new GalvatronError("ARGUMENT_INVALID", `${name}: expected a number above 0, got ${value}`, {
      option: name,
    });
  }
}

/** Products of attention's scores and values: the part of a layer's work that grows with the square of the sequence. */
const attentionFlops = (kind: LayerKind): number => 4 * kind.sequence ** 2 * kind.hidden;

function resizedKind(kind: LayerKind, factor: number): LayerKind {
  const quadratic = Math.min(kind.forwardFlops, attentionFlops(kind));
  const forwardFlops = (kind.forwardFlops - quadratic) * factor + quadratic * factor ** 2;
  return { ...kind, sequence: Math.round(kind.sequence * factor), forwardFlops };
}

/** The model at another sequence length, kinds in proportion. */
export function withSequence(model: ModelSpec, sequence: number): ModelSpec {
  const factor = sequence / model.sequence;
  return {
    ...model,
    sequence,
    kinds: Object.fromEntries(
      Object.entries(model.kinds).map(([name, kind]) => [name, resizedKind(kind, factor)]),
    ),
    head: { ...model.head, forwardFlops: model.head.forwardFlops * factor },
  };
}

/**
 * A profile for another sequence length. Lengths that were profiled are kept, and the cost model interpolates between
 * them; with one only, times grow with the flops and memory with the tokens.
 */
function resizedProfile(profile: ModelProfile, model: ModelSpec): ModelProfile {
  const sequences = new Set(profile.layers.map(({ kind, sequence }) => `${kind} ${sequence}`));
  const kinds = new Set(profile.layers.map(({ kind }) => kind));
  if (sequences.size > kinds.size) return { ...profile, model };
  const factor = model.sequence / profile.model.sequence;
  const layers = profile.layers.map((sample): LayerSample => {
    const before = profile.model.kinds[sample.kind];
    const after = model.kinds[sample.kind];
    const work = before && after ? after.forwardFlops / before.forwardFlops : factor;
    return {
      ...sample,
      sequence: Math.round(sample.sequence * factor),
      forwardMs: sample.forwardMs * work,
      backwardMs: sample.backwardMs * work,
      activationBytes: sample.activationBytes * factor,
      inputBytes: sample.inputBytes * factor,
      workspaceBytes: sample.workspaceBytes * factor,
    };
  });
  return { ...profile, model, layers };
}

function changedHardware(hardware: HardwareProfile, change: Change): HardwareProfile {
  const { nodes = hardware.cluster.nodes, ranksPerNode = hardware.cluster.ranksPerNode } = change;
  const { bandwidth = 1 } = change;
  return {
    ...(bandwidth === 1 ? hardware : withSlowerCollectives(hardware, 1 / bandwidth)),
    cluster: { ...hardware.cluster, nodes, ranksPerNode },
    matmuls: hardware.matmuls.map((sample) => ({ ...sample, timeMs: sample.timeMs / (change.compute ?? 1) })),
  };
}

/** The inputs with a change made. @throws ARGUMENT_INVALID for numbers that are not above 0 */
export function changedInputs(inputs: SearchInputs, change: Change): SearchInputs {
  mustBePositive(change);
  let { model, modelProfile } = inputs;
  if (change.sequence !== undefined && change.sequence !== model.sequence) {
    model = withSequence(model, change.sequence);
    modelProfile = resizedProfile(modelProfile, model);
  }
  const faster = change.compute ?? 1;
  if (faster !== 1) {
    const layers = modelProfile.layers.map((sample) => ({
      ...sample,
      forwardMs: sample.forwardMs / faster,
      backwardMs: sample.backwardMs / faster,
    }));
    modelProfile = { ...modelProfile, layers };
  }
  return {
    ...inputs,
    model,
    modelProfile,
    hardware: changedHardware(inputs.hardware, change),
    budgetBytes: change.budgetBytes ?? inputs.budgetBytes,
    ...(change.globalBatch !== undefined && { globalBatch: change.globalBatch }),
  };
}

/**
 * What would be the best plan if something were different: memory, links, number of GPUs, batch, sequence.
 *
 * @throws ARGUMENT_INVALID for numbers that are not above 0
 */
export function whatIf(inputs: SearchInputs, change: Change): WhatIf {
  const changed = changedInputs(inputs, change);
  const before = searchOrNull(inputs);
  const after = searchOrNull(changed);
  const speedup =
    before && after ? after.prediction.samplesPerSecond / before.prediction.samplesPerSecond : null;
  return { inputs: changed, before, after, speedup };
}
