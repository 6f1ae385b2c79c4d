import { layerGraphs } from "../../src/families/layer-graphs.js";
import { gradientName } from "../../src/graph/build-layer-graphs.js";
import type { LayerGraphs } from "../../src/graph/layer-graphs.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import { type RankState, runSteps } from "./layer-interpreter.js";
import type { Content } from "./run-onnx.js";
import { elements, ONE_RANK } from "./simulate-layer.js";

export interface Training {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly maxNorm: number;
}

export interface TrainingData {
  readonly samples: number;
  readonly lossTokens: number;
  /** For each step, loader data by name. */
  readonly steps: readonly Readonly<Record<string, Content>>[];
  /** Whole parameters by name, as they are before the first step. */
  readonly weights: ReadonlyMap<string, Float32Array>;
}

/** What one forward and backward pass leaves. */
interface Pass {
  readonly loss: number;
  /** Values of each layer, embedding and head counted, by their names in it. */
  readonly states: readonly RankState[];
}

export interface Trained {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  /** Of the first step: outputs of each layer but the head, in their order, and gradients of whole parameters by name. */
  readonly first: {
    readonly outputs: readonly ReadonlyMap<string, Content>[];
    readonly gradients: ReadonlyMap<string, Float64Array>;
  };
}

interface Parameter {
  readonly content: Content;
  readonly data: Float32Array;
  readonly gradient: Float64Array;
  readonly moment1: Float32Array;
  readonly moment2: Float32Array;
  readonly decay: boolean;
}

interface Layer {
  readonly prefix: string;
  readonly graphs: LayerGraphs;
}

/** Name of a layer's parameter in the whole model; a tied one bears the embedding's. */
function fullName(layer: Layer, name: string): string {
  const tiedTo = layer.graphs.parameters.find((p) => p.name === name)!.tiedTo;
  return tiedTo === undefined ? `${layer.prefix}.${name}` : `embedding.${tiedTo}`;
}

/** AdamW as in Loshchilov & Hutter 2019, spelled out; the runtime's twin in the plainest form. */
function update(parameters: Iterable<Parameter>, training: Training, step: number): number {
  const all = [...parameters];
  const norm = Math.sqrt(all.reduce((sum, { gradient }) => gradient.reduce((s, x) => s + x * x, sum), 0));
  const factor = Math.min(1, training.maxNorm / (norm + 1e-6));
  const { learningRate, beta1, beta2, epsilon } = training;
  for (const { data, gradient, moment1, moment2, decay } of all) {
    for (let i = 0; i < data.length; i++) {
      const slope = gradient[i]! * factor;
      moment1[i] = beta1 * moment1[i]! + (1 - beta1) * slope;
      moment2[i] = beta2 * moment2[i]! + (1 - beta2) * slope * slope;
      const mean = moment1[i]! / (1 - beta1 ** step);
      const deviation = Math.sqrt(moment2[i]! / (1 - beta2 ** step)) + epsilon;
      const decayed = data[i]! * (1 - (decay ? learningRate * training.weightDecay : 0));
      data[i] = decayed - (learningRate * mean) / deviation;
    }
  }
  return norm;
}

/** Trains on one rank through the graphs of the product, step by step. */
export async function trainInProcess(
  model: ModelSpec,
  training: Training,
  data: TrainingData,
): Promise<Trained> {
  const make = (kind: string): LayerGraphs =>
    layerGraphs(model, {
      kind,
      strategy: ONE_RANK,
      samples: data.samples,
      precision: "float32",
      lossTokens: data.lossTokens,
    });
  const cache = new Map([...new Set(model.layers)].map((kind) => [kind, make(kind)]));
  const layers: readonly Layer[] = [
    { prefix: "embedding", graphs: make("embedding") },
    ...model.layers.map((kind, i) => ({ prefix: `layers.${i}`, graphs: cache.get(kind)! })),
    { prefix: "head", graphs: make("head") },
  ];
  const parameters = new Map<string, Parameter>();
  for (const layer of layers) {
    for (const { name, fullShape, decay, tiedTo } of layer.graphs.parameters) {
      if (tiedTo !== undefined) continue;
      const count = elements(fullShape);
      const values = Float32Array.from(data.weights.get(fullName(layer, name)) ?? []);
      if (values.length !== count) throw new Error(`no ${count} elements for ${fullName(layer, name)}`);
      parameters.set(fullName(layer, name), {
        content: { dtype: "float32", shape: fullShape, data: values },
        data: values,
        gradient: new Float64Array(count),
        moment1: new Float32Array(count),
        moment2: new Float32Array(count),
        decay,
      });
    }
  }
  const losses: number[] = [];
  const norms: number[] = [];
  let first: Trained["first"] = { outputs: [], gradients: new Map() };
  for (const [index, batch] of data.steps.entries()) {
    for (const { gradient } of parameters.values()) gradient.fill(0);
    const { loss, states } = await forwardBackward(layers, parameters, batch);
    if (index === 0) {
      const gradients = [...parameters].map(([name, { gradient }]) => [name, gradient.slice()] as const);
      const outputs = layers
        .slice(0, -1)
        .map(({ graphs }, at) => new Map(graphs.borderOutputs.map((name) => [name, states[at]!.get(name)!])));
      first = { outputs, gradients: new Map(gradients) };
    }
    losses.push(loss);
    norms.push(update(parameters.values(), training, index + 1));
  }
  return { losses, norms, first };
}

async function forwardBackward(
  layers: readonly Layer[],
  parameters: ReadonlyMap<string, Parameter>,
  batch: Readonly<Record<string, Content>>,
): Promise<Pass> {
  const states = layers.map((layer): RankState => {
    const state: RankState = new Map(Object.entries(batch));
    for (const { name } of layer.graphs.parameters) {
      state.set(name, parameters.get(fullName(layer, name))!.content);
    }
    return state;
  });
  for (const [i, layer] of layers.entries()) {
    layer.graphs.borderInputs.forEach((name, border) => {
      states[i]!.set(name, states[i - 1]!.get(layers[i - 1]!.graphs.borderOutputs[border]!)!);
    });
    await runSteps(layer.graphs, layer.graphs.forward, [states[i]!]);
  }
  for (let i = layers.length - 1; i >= 0; i--) {
    const layer = layers[i]!;
    layer.graphs.borderOutputs.forEach((name, border) => {
      const next = layers[i + 1]!.graphs.borderInputs[border]!;
      states[i]!.set(gradientName(name), states[i + 1]!.get(gradientName(next))!);
    });
    await runSteps(layer.graphs, layer.graphs.backward, [states[i]!]);
    for (const { name } of layer.graphs.parameters) {
      const { gradient } = parameters.get(fullName(layer, name))!;
      const share = states[i]!.get(gradientName(name))!.data;
      for (let e = 0; e < gradient.length; e++) gradient[e]! += share[e]!;
    }
  }
  return { loss: states[layers.length - 1]!.get("loss")!.data[0]!, states };
}
