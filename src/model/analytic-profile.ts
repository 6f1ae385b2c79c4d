import { DTYPE_BYTES } from "../base/units.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import type { Precision } from "../plan/plan.js";
import { computeDtype } from "../plan/precision.js";
import type { TensorSplit } from "../plan/strategy.js";
import { EMBEDDING_KIND, HEAD_KIND, type LayerSample, type ModelProfile } from "./model-profile.js";
import type { LayerKind, ModelSpec } from "./model-spec.js";
import { wholeElements } from "./whole-parameters.js";

/** What an analytic profile covers. */
export interface AnalyticOptions {
  /** Default `float32` on the host, `bfloat16` on CUDA. */
  readonly precision?: Precision;
  /** Largest tensor degree. Default: the ranks of one node. */
  readonly maxTensorDegree?: number;
  /** Micro-batch sizes per rank; between and beyond them the cost model interpolates. */
  readonly samples?: readonly number[];
}

const SAMPLES: readonly number[] = [1, 2, 4, 8, 16, 32, 64];
/** Share of a matrix product's bytes that backward moves again for its two products. */
const BACKWARD_FACTOR = 2;

/** Throughput in flops per ms by the size of a matrix product, from the machine's samples: ascending in flops. */
type Throughput = readonly { readonly flops: number; readonly perMs: number }[];

function throughputCurve(hardware: HardwareProfile, precision: Precision): Throughput {
  const own = hardware.matmuls.filter((sample) => sample.dtype === computeDtype(precision));
  const samples = own.length > 0 ? own : hardware.matmuls;
  const points = samples
    .map(({ m, k, n, timeMs }) => ({ flops: 2 * m * k * n, perMs: (2 * m * k * n) / timeMs }))
    .sort((a, b) => a.flops - b.flops || b.perMs - a.perMs);
  // Bigger products are never slower per flop than smaller ones: keep the rising envelope.
  const curve: { flops: number; perMs: number }[] = [];
  for (const point of points) {
    const last = curve.at(-1);
    if (last && point.flops === last.flops) continue;
    curve.push({ flops: point.flops, perMs: Math.max(point.perMs, last?.perMs ?? 0) });
  }
  return curve;
}

/** Time of `flops` done in products of `productFlops` each: throughput interpolated over the logarithm of the size. */
function flopsMs(curve: Throughput, flops: number, productFlops: number): number {
  if (curve.length === 0 || flops === 0) return 0;
  const first = curve[0]!;
  if (productFlops <= first.flops) return (flops / productFlops) * (first.flops / first.perMs);
  let perMs = curve.at(-1)!.perMs;
  for (let i = 1; i < curve.length; i++) {
    const right = curve[i]!;
    if (productFlops > right.flops) continue;
    const left = curve[i - 1]!;
    const share = Math.log(productFlops / left.flops) / Math.log(right.flops / left.flops);
    perMs = left.perMs + share * (right.perMs - left.perMs);
    break;
  }
  return flops / perMs;
}

function degreesOf(most: number): number[] {
  return Array.from({ length: most }, (_, index) => index + 1);
}

/** Parameters of one rank: its share of what the weights split cuts, and the whole of what it does not (norms, biases). */
function heldElements(model: ModelSpec, kind: string, elements: number, weightShare: number): number {
  if (weightShare === 1) return elements;
  const whole = Math.min(elements, wholeElements(model, kind));
  return whole + Math.ceil((elements - whole) / weightShare);
}

function bodySample(
  model: ModelSpec,
  kind: LayerKind,
  hardware: HardwareProfile,
  curve: Throughput,
  precision: Precision,
  tensorDegree: number,
  tensorSplit: TensorSplit,
  samples: number,
): LayerSample {
  const elementBytes = DTYPE_BYTES[computeDtype(precision)];
  const tokens = kind.sequence * samples;
  const weightShare = tensorSplit === "weights" ? tensorDegree : 1;
  const positionShare = tensorSplit === "sequence" ? tensorDegree : 1;
  const productFlops = (2 * tokens * kind.hidden * kind.feedForward) / (weightShare * positionShare);
  const computeMs = flopsMs(curve, (kind.forwardFlops * samples) / tensorDegree, productFlops);
  const keyValue = (kind.hidden * kind.keyValueHeads) / kind.heads;
  const cutElements = (tokens * 4 * kind.hidden) / tensorDegree;
  const innerElements =
    (tokens * (2 * kind.hidden + 2 * keyValue + 2 * kind.feedForward + kind.heads * kind.sequence)) /
    tensorDegree;
  const touchMs = (2 * (cutElements + innerElements) * elementBytes) / (hardware.optimizerGBps * 1e6);
  const inputBytes = (tokens * kind.hidden * elementBytes) / tensorDegree;
  return {
    kind: kind.name,
    tensorDegree,
    tensorSplit,
    samples,
    sequence: kind.sequence,
    forwardMs: computeMs + touchMs,
    backwardMs: BACKWARD_FACTOR * (computeMs + touchMs),
    activationBytes: (cutElements + innerElements) * elementBytes,
    inputBytes,
    parameterElements: heldElements(model, kind.name, kind.parameters, weightShare),
    workspaceBytes: innerElements * elementBytes,
  };
}

function endSample(
  model: ModelSpec,
  name: string,
  hardware: HardwareProfile,
  curve: Throughput,
  precision: Precision,
  tensorDegree: number,
  tensorSplit: TensorSplit,
  samples: number,
): LayerSample {
  const elementBytes = DTYPE_BYTES[computeDtype(precision)];
  const kind = model.kinds[(name === EMBEDDING_KIND ? model.layers[0] : model.layers.at(-1)) ?? ""]!;
  const tokens = kind.sequence * samples;
  const weightShare = tensorSplit === "weights" ? tensorDegree : 1;
  const inputBytes = (tokens * kind.hidden * elementBytes) / tensorDegree;
  const touch = (bytes: number): number => bytes / (hardware.optimizerGBps * 1e6);
  if (name === EMBEDDING_KIND) {
    return {
      kind: name,
      tensorDegree,
      tensorSplit,
      samples,
      sequence: kind.sequence,
      forwardMs: touch(3 * inputBytes),
      backwardMs: touch(3 * inputBytes),
      activationBytes: tokens * 8,
      inputBytes: tokens * 8,
      parameterElements: heldElements(model, name, model.embedding.parameters, weightShare),
      workspaceBytes: inputBytes,
    };
  }
  const logits = (tokens * model.vocabulary) / tensorDegree;
  const computeMs = flopsMs(
    curve,
    (model.head.forwardFlops * samples) / tensorDegree,
    2 * logits * kind.hidden,
  );
  const touchMs = touch(4 * logits * 4);
  const parameters = model.head.tied
    ? Math.max(model.head.parameters, model.vocabulary * kind.hidden)
    : model.head.parameters;
  return {
    kind: name,
    tensorDegree,
    tensorSplit,
    samples,
    sequence: kind.sequence,
    forwardMs: computeMs + touchMs,
    backwardMs: BACKWARD_FACTOR * computeMs + touchMs,
    activationBytes: 2 * inputBytes + logits * 4,
    inputBytes,
    parameterElements: heldElements(model, name, parameters, weightShare),
    workspaceBytes: 2 * logits * 4,
  };
}

/**
 * A profile of any model on any machine without running it: floating-point operations by shape over the machine's
 * measured (or published) matrix-product throughput, elementwise traffic over its memory bandwidth, and the
 * activations that a layer saves by shape (Korthikanti et al. 2022, section 4.1, without dropout masks).
 *
 * Every tensor degree that divides heads, positions and columns is covered, under both splits.
 */
export function analyticProfile(
  model: ModelSpec,
  hardware: HardwareProfile,
  options: AnalyticOptions = {},
): ModelProfile {
  const precision = options.precision ?? (hardware.cluster.device === "host" ? "float32" : "bfloat16");
  const most = options.maxTensorDegree ?? Math.max(1, hardware.cluster.ranksPerNode);
  const curve = throughputCurve(hardware, precision);
  const layers: LayerSample[] = [];
  for (const tensorDegree of degreesOf(most)) {
    for (const tensorSplit of tensorDegree === 1
      ? (["weights"] as const)
      : (["weights", "sequence"] as const)) {
      for (const samples of options.samples ?? SAMPLES) {
        for (const kind of Object.values(model.kinds)) {
          if (kind.sequence % tensorDegree !== 0 || kind.heads % tensorDegree !== 0) continue;
          if (kind.keyValueHeads % tensorDegree !== 0) continue;
          if (tensorSplit === "weights" && kind.feedForward % tensorDegree !== 0) continue;
          layers.push(
            bodySample(model, kind, hardware, curve, precision, tensorDegree, tensorSplit, samples),
          );
        }
        for (const name of [EMBEDDING_KIND, HEAD_KIND]) {
          if (model.sequence % tensorDegree !== 0) continue;
          layers.push(endSample(model, name, hardware, curve, precision, tensorDegree, tensorSplit, samples));
        }
      }
    }
  }
  return { model, precision, device: hardware.cluster.deviceName, source: "analytic", layers };
}
