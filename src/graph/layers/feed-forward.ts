import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { columnLinear, rowLinear } from "./parallel-linear.js";

export interface GeluFeedForward {
  /** "feedForward" unless a layer has several. */
  readonly name?: string;
  readonly hidden: number;
  readonly inner: number;
  readonly approximate: "tanh" | "none";
  readonly up: Init;
  readonly down: Init;
}

/** down(gelu(up(x))) with biases, from inside a parallel region to its end. */
export function geluFeedForward(scope: LayerScope, x: Value, shape: GeluFeedForward): Value {
  const { name = "feedForward", hidden, inner } = shape;
  const up = columnLinear(scope, `${name}.up`, x, {
    input: hidden,
    output: inner,
    bias: true,
    init: shape.up,
  });
  const activated = scope.g.gelu(up, shape.approximate);
  return rowLinear(scope, `${name}.down`, activated, {
    input: inner,
    output: hidden,
    bias: true,
    init: shape.down,
  });
}

/** down(silu(gate(x)) · up(x)) without biases (Shazeer 2020), from inside a parallel region to its end. */
export function swiGluFeedForward(
  scope: LayerScope,
  x: Value,
  shape: { readonly hidden: number; readonly inner: number; readonly init: Init },
): Value {
  const { hidden, inner, init } = shape;
  const wide = { input: hidden, output: inner, bias: false, init };
  const gate = columnLinear(scope, "feedForward.gate", x, wide);
  const up = columnLinear(scope, "feedForward.up", x, wide);
  return rowLinear(scope, "feedForward.down", scope.g.swiGlu(gate, up), {
    input: inner,
    output: hidden,
    bias: false,
    init,
  });
}
