import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";
import { wideDtype } from "../ops/op-definition.js";

/**
 * Cosines and sines `[S, d/2]` of rotary positions (Su et al. 2021): angle of position s and pair i is
 * s · theta^(−2i/d). Made in the graph from two short constants; ONNX Runtime folds them once at load.
 */
export function rotaryTables(
  scope: LayerScope,
  sequence: number,
  headWidth: number,
  theta: number,
): { readonly cosine: Value; readonly sine: Value } {
  const { g } = scope;
  const dtype = wideDtype(scope.dtype);
  const positions = Array.from({ length: sequence }, (_, s) => s);
  const frequencies = Array.from({ length: headWidth / 2 }, (_, i) => theta ** ((-2 * i) / headWidth));
  const angles = g.mul(
    g.constant(positions, dtype, [sequence, 1]),
    g.constant(frequencies, dtype, [1, headWidth / 2]),
  );
  return { cosine: g.cos(angles), sine: g.sin(angles) };
}
