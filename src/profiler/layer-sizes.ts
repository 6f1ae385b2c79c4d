import { DTYPE_BYTES } from "../base/units.js";
import type { LayerGraphs } from "../graph/layer-graphs.js";
import type { LayerSample } from "../model/model-profile.js";

/** Bytes and elements that the graphs' shapes tell: exact, not measured. */
export function sizesOf(
  graphs: LayerGraphs,
): Pick<LayerSample, "activationBytes" | "inputBytes" | "parameterElements"> {
  const bytes = (name: string): number => {
    const { dtype, shape } = graphs.values[name]!;
    return DTYPE_BYTES[dtype] * elements(shape);
  };
  const kept = new Set(
    [...graphs.saved, ...graphs.borderInputs].filter((name) => {
      const { role } = graphs.values[name]!;
      return role !== "parameter" && role !== "constant" && role !== "data";
    }),
  );
  return {
    activationBytes: [...kept].reduce((sum, name) => sum + bytes(name), 0),
    inputBytes: graphs.borderInputs.reduce((sum, name) => sum + bytes(name), 0),
    parameterElements: graphs.parameters.reduce(
      (sum, parameter) => sum + elements(graphs.values[parameter.name]!.shape),
      0,
    ),
  };
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
