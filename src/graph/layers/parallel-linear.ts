import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { dropout } from "./dropout.js";

export interface LinearShape {
  readonly input: number;
  readonly output: number;
  readonly bias: boolean;
  readonly init: Init;
}

const ZEROS: Init = { kind: "zeros" };

/** A projection whose output features are cut over a "weights" group: x `[.., in]` to this rank's `[.., out / t]`. */
export function columnLinear(scope: LayerScope, name: string, x: Value, shape: LinearShape): Value {
  const weight = scope.parameter(`${name}.weight`, [shape.output, shape.input], {
    cutAxis: 0,
    init: shape.init,
  });
  const bias = shape.bias
    ? scope.parameter(`${name}.bias`, [shape.output], { cutAxis: 0, init: ZEROS })
    : null;
  return scope.g.linear(x, weight, bias);
}

/**
 * A projection whose input features are cut over a "weights" group; the partial sums of the ranks are
 * reduce-scattered along the sequence, and the bias is added to the result, once. Ends with dropout, where a residual
 * is about to be added.
 * x `[S, b, in / t]` to `[S / t, b, out]`; without a "weights" group `[.., in]` to `[.., out]`.
 */
export function rowLinear(scope: LayerScope, name: string, x: Value, shape: LinearShape): Value {
  const { g } = scope;
  const weight = scope.parameter(`${name}.weight`, [shape.output, shape.input], {
    cutAxis: 1,
    init: shape.init,
  });
  const bias = shape.bias ? scope.parameter(`${name}.bias`, [shape.output], { init: ZEROS }) : null;
  if (!scope.cutsWeights) return dropout(scope, g.linear(x, weight, bias));
  const scattered = g.reduceScatter(g.linear(x, weight, null), scope.degree);
  return dropout(scope, bias ? g.add(scattered, bias) : scattered);
}

/** Into a parallel region: the whole sequence where a "weights" group had cut it. */
export function enterParallel(scope: LayerScope, x: Value): Value {
  return scope.cutsWeights ? scope.g.allGather(x, scope.degree) : x;
}
