import { fillNormal } from "../../src/base/random.js";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { gradientName, type LayerGraphsOptions } from "../../src/graph/build-layer-graphs.js";
import type { LayerGraphs, LayerRequest, ParameterDeclaration } from "../../src/graph/layer-graphs.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { type RankState, runSteps } from "./layer-interpreter.js";
import type { Content } from "./run-onnx.js";

export const ONE_RANK: Strategy = {
  tensorDegree: 1,
  tensorSplit: "weights",
  dataDegree: 1,
  dataParallel: "ddp",
  recompute: false,
  placement: "consecutive",
};

/** Tensors of the whole model, uncut, by value name. */
export type WholeTensors = Readonly<Record<string, Content>>;

const built = new Map<string, LayerGraphs>();

/** {@link layerGraphs}, once for equal arguments, so that their sessions are made once too. */
function graphsFor(model: ModelSpec, request: LayerRequest, options: LayerGraphsOptions): LayerGraphs {
  const key = JSON.stringify([model, request, options]);
  const graphs = built.get(key) ?? layerGraphs(model, request, options);
  built.set(key, graphs);
  return graphs;
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Piece `index` of `pieces` along an axis. */
export function cutPiece(whole: Content, axis: number, pieces: number, index: number): Content {
  const extent = whole.shape[axis]! / pieces;
  const inner = elements(whole.shape.slice(axis + 1));
  const outer = elements(whole.shape.slice(0, axis));
  const shape = whole.shape.map((e, i) => (i === axis ? extent : e));
  const data = new Float64Array(elements(shape));
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < extent * inner; i++) {
      data[o * extent * inner + i] = whole.data[(o * whole.shape[axis]! + index * extent) * inner + i]!;
    }
  }
  return { dtype: whole.dtype, shape, data };
}

/** The inverse of {@link cutPiece}. */
export function joinPieces(pieces: readonly Content[], axis: number): Content {
  const first = pieces[0]!;
  const extent = first.shape[axis]!;
  const inner = elements(first.shape.slice(axis + 1));
  const outer = elements(first.shape.slice(0, axis));
  const shape = first.shape.map((e, i) => (i === axis ? e * pieces.length : e));
  const data = new Float64Array(elements(shape));
  pieces.forEach((piece, index) => {
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < extent * inner; i++) {
        data[(o * extent * pieces.length + index * extent) * inner + i] = piece.data[o * extent * inner + i]!;
      }
    }
  });
  return { dtype: first.dtype, shape, data };
}

function sumOf(contents: readonly Content[]): Content {
  const first = contents[0]!;
  const data = Float64Array.from(first.data);
  for (const content of contents.slice(1)) for (let i = 0; i < data.length; i++) data[i]! += content.data[i]!;
  return { ...first, data };
}

/** Rows of padding added at the end, or cut off. */
function withRows(content: Content, rows: number): Content {
  const inner = elements(content.shape.slice(1));
  const data = new Float64Array(rows * inner);
  for (let i = 0; i < Math.min(data.length, content.data.length); i++) data[i] = content.data[i]!;
  return { ...content, shape: [rows, ...content.shape.slice(1)], data };
}

/** Values for everything that a layer reads: random for floats, in range for tokens and labels. */
export function randomInputs(
  model: ModelSpec,
  request: LayerRequest,
  options: LayerGraphsOptions = {},
): WholeTensors {
  const graphs = graphsFor(model, { ...request, strategy: ONE_RANK }, options);
  const entries = Object.entries(graphs.values).flatMap(([name, value]): [string, Content][] => {
    const { dtype, shape, role } = value;
    const count = elements(shape);
    if (role === "data") {
      const limit =
        name === "labels" && model.options.classes ? Number(model.options.classes) : model.vocabulary;
      const ids = fillNormal(3, name, 0, count, 1000).map((x) => Math.abs(Math.round(x)) % limit);
      if (name === "labels" && count > 2) ids[1] = -100;
      const isFloat = dtype !== "int64";
      return [[name, { dtype, shape, data: isFloat ? fillNormal(3, name, 0, count, 1) : ids }]];
    }
    if (!["borderInput", "parameter", "borderOutputGradient"].includes(role)) return [];
    const isScale = role === "parameter" && /norm\.weight$/.test(name);
    const noise = fillNormal(5, name, 0, count, role === "parameter" ? 0.3 : 1);
    return [[name, { dtype, shape, data: isScale ? noise.map((x) => 1 + x) : noise }]];
  });
  return Object.fromEntries(entries);
}

function ownShare(
  graphs: LayerGraphs,
  name: string,
  whole: Content,
  degree: number,
  rank: number,
  declared: ReadonlyMap<string, ParameterDeclaration>,
): Content {
  const value = graphs.values[name]!;
  if (value.role === "borderInput" || value.role === "borderOutputGradient") {
    return cutPiece(whole, 0, degree, rank);
  }
  const declaration = declared.get(name);
  if (!declaration) return whole;
  const padded = declaration.unpaddedRows ? withRows(whole, declaration.fullShape[0]!) : whole;
  return declaration.cut ? cutPiece(padded, declaration.cut.axis, degree, rank) : padded;
}

/**
 * Runs a layer forward and backward over simulated ranks and puts the pieces together: border outputs and gradients
 * by name, uncut; "loss", "accuracy" and gradients of whole parameters summed over the ranks.
 */
export async function simulateLayer(
  model: ModelSpec,
  request: LayerRequest,
  inputs: WholeTensors,
  options: LayerGraphsOptions = {},
): Promise<WholeTensors> {
  const graphs = graphsFor(model, request, options);
  const degree = request.strategy.tensorDegree;
  const declared = new Map(graphs.parameters.map((p) => [p.name, p]));
  const states = Array.from({ length: degree }, (_, rank): RankState => {
    const state: RankState = new Map();
    for (const [name, whole] of Object.entries(inputs)) {
      if (graphs.values[name]) state.set(name, ownShare(graphs, name, whole, degree, rank, declared));
    }
    for (const { name, dtype, shape, perTensorRank } of graphs.constants) {
      state.set(name, { dtype, shape, data: perTensorRank[rank]! });
    }
    return state;
  });
  await runSteps(graphs, graphs.forward, states);
  // Backward may read only what the layer says it keeps.
  const kept = new Set([...graphs.saved, "loss", ...graphs.borderOutputs]);
  for (const state of states) {
    for (const name of [...state.keys()]) {
      const role = graphs.values[name]!.role;
      if ((role === "intermediate" || role === "borderInput") && !kept.has(name)) state.delete(name);
    }
  }
  await runSteps(graphs, graphs.backward, states);
  const result: Record<string, Content> = {};
  for (const [name, value] of Object.entries(graphs.values)) {
    const pieces = states.flatMap((state) => state.get(name) ?? []);
    if (value.role === "borderOutput" || value.role === "borderInputGradient") {
      result[name] = joinPieces(pieces, 0);
    } else if (value.role === "loss") {
      // A classifier's head reports its accuracy behind the loss.
      const { dtype, data } = sumOf(pieces);
      for (const [i, what] of ["loss", "accuracy"].slice(0, data.length).entries())
        result[what] = { dtype, shape: [1], data: [data[i]!] };
    } else if (value.role === "parameterGradient") {
      const declaration = declared.get(value.gradientOf!)!;
      const whole = declaration.cut ? joinPieces(pieces, declaration.cut.axis) : sumOf(pieces);
      result[gradientName(declaration.name)] = declaration.unpaddedRows
        ? withRows(whole, declaration.unpaddedRows)
        : whole;
    }
  }
  return result;
}

/** Largest difference over the largest magnitude of `expected`. */
export function relativeDifference(actual: Content, expected: Content): number {
  let difference = 0;
  let largest = 0;
  if (actual.shape.join() !== expected.shape.join()) {
    throw new Error(`shapes [${actual.shape}] and [${expected.shape}] differ`);
  }
  for (let i = 0; i < expected.data.length; i++) {
    difference = Math.max(difference, Math.abs(actual.data[i]! - expected.data[i]!));
    largest = Math.max(largest, Math.abs(expected.data[i]!));
  }
  return largest === 0 ? difference : difference / largest;
}
