import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";

/** Layer norm over the last axis with a learned scale and shift, whole on every rank. */
export function layerNorm(scope: LayerScope, name: string, x: Value, epsilon: number): Value {
  const width = x.shape.slice(-1);
  const scale = scope.parameter(`${name}.weight`, width, { init: { kind: "ones" } });
  const shift = scope.parameter(`${name}.bias`, width, { init: { kind: "zeros" } });
  return scope.g.layerNormalization(x, scale, shift, epsilon);
}

/** RMS norm over the last axis with a learned scale, whole on every rank. */
export function rmsNorm(scope: LayerScope, name: string, x: Value, epsilon: number): Value {
  const scale = scope.parameter(`${name}.weight`, x.shape.slice(-1), { init: { kind: "ones" } });
  return scope.g.rmsNormalization(x, scale, epsilon);
}
