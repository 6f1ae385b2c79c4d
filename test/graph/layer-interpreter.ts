import { elementCount } from "../../src/graph/ir.js";
import type { LayerGraphs, LayerStep } from "../../src/graph/layer-graphs.js";
import { type Content, runOnnx } from "./run-onnx.js";

/** Tensors of one rank by name. */
export type RankState = Map<string, Content>;

/** Pieces follow each other in memory: what comes out has the shape that is declared. */
function collective(
  step: Exclude<LayerStep, { op: "run" }>,
  inputs: readonly Content[],
  shape: readonly number[],
): readonly Content[] {
  const ranks = inputs.length;
  const { dtype } = inputs[0]!;
  const size = inputs[0]!.data.length;
  const make = (length: number, at: (i: number, rank: number) => number): readonly Content[] => {
    if (elementCount(shape) !== length)
      throw new Error(`${step.output} is [${shape}], not of ${length} elements`);
    return inputs.map((_, rank) => ({
      dtype,
      shape,
      data: Float64Array.from({ length }, (_e, i) => at(i, rank)),
    }));
  };
  const reduced = (i: number): number =>
    inputs
      .map((input) => input.data[i]!)
      .reduce((a, b) => (step.reduction === "max" ? Math.max(a, b) : a + b));
  const piece = size / ranks;
  switch (step.op) {
    case "allReduce":
      return make(size, reduced);
    case "allGather":
      return make(size * ranks, (i) => inputs[Math.floor(i / size)]!.data[i % size]!);
    case "reduceScatter":
      return make(piece, (i, rank) => reduced(rank * piece + i));
    case "allToAll":
      return make(size, (i, rank) => inputs[Math.floor(i / piece)]!.data[rank * piece + (i % piece)]!);
  }
}

/** Runs the steps of one pass on all ranks of a tensor group, collectives in JavaScript. Reads and writes `states`. */
export async function runSteps(
  graphs: LayerGraphs,
  steps: readonly LayerStep[],
  states: readonly RankState[],
): Promise<void> {
  const read = (state: RankState, name: string): Content => {
    const content = state.get(name);
    if (!content) throw new Error(`${graphs.kind}: ${name} is read before it is written`);
    return content;
  };
  for (const step of steps) {
    if (step.op !== "run") {
      const outputs = collective(
        step,
        states.map((state) => read(state, step.input)),
        graphs.values[step.output]!.shape,
      );
      outputs.forEach((output, rank) => {
        states[rank]!.set(step.output, output);
      });
      continue;
    }
    for (const state of states) {
      const inputs = step.graph.inputs.map((port, i) => [port, read(state, step.inputs[i]!)] as const);
      const outputs = await runOnnx(step.bytes, inputs, step.graph.outputs);
      outputs.forEach((output, i) => {
        expectShape(graphs, step.outputs[i]!, output);
        state.set(step.outputs[i]!, output);
      });
    }
  }
}

function expectShape(graphs: LayerGraphs, name: string, content: Content): void {
  const declared = graphs.values[name];
  if (declared?.shape.join() !== content.shape.join() || declared.dtype !== content.dtype) {
    throw new Error(
      `${name}: declared ${declared?.dtype}[${declared?.shape}], got ${content.dtype}[${content.shape}]`,
    );
  }
}
