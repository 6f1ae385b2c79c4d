import type { TensorView } from "../../src/families/tensor-view.js";
import { viewShape } from "../../src/families/tensor-view.js";
import { viewRuns } from "../../src/families/view-runs.js";
import { elements } from "../graph/simulate-layer.js";

type Numbers = Float32Array | Float64Array;

function wholeRuns(view: TensorView): ReturnType<typeof viewRuns> {
  const shape = viewShape(view);
  return viewRuns(view, { start: shape.map(() => 0), extent: shape });
}

/** Whole parameters from the tensors of a file. */
export function parametersOf(
  views: readonly TensorView[],
  tensors: ReadonlyMap<string, Float32Array>,
): ReadonlyMap<string, Float32Array> {
  return new Map(
    views.map((view) => {
      const values = new Float32Array(elements(viewShape(view)));
      const source = tensors.get(view.tensor);
      if (source?.length !== elements(view.shape)) throw new Error(`no ${view.tensor} [${view.shape}]`);
      for (const { fileElement, blockElement, blockStride, count } of wholeRuns(view))
        for (let i = 0; i < count; i++) values[blockElement + i * blockStride] = source[fileElement + i]!;
      return [view.parameter, values];
    }),
  );
}

/** The tensors of a file from whole parameters. */
export function fileTensorsOf(
  views: readonly TensorView[],
  parameters: ReadonlyMap<string, Numbers>,
): ReadonlyMap<string, Float64Array> {
  const tensors = new Map<string, Float64Array>();
  for (const view of views) {
    const target = tensors.get(view.tensor) ?? new Float64Array(elements(view.shape)).fill(Number.NaN);
    tensors.set(view.tensor, target);
    const values = parameters.get(view.parameter)!;
    for (const { fileElement, blockElement, blockStride, count } of wholeRuns(view))
      for (let i = 0; i < count; i++) target[fileElement + i] = values[blockElement + i * blockStride]!;
  }
  return tensors;
}
