import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { attention } from "./attention.js";
import { innerDropout } from "./dropout.js";
import { rmsNorm } from "./normalization.js";
import { columnLinear, enterParallel, rowLinear } from "./parallel-linear.js";

/** Sizes of T5's sublayers: RMS norm before, no biases, initial values that keep variances (Raffel et al. 2020). */
export interface UnbiasedSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly headWidth: number;
  readonly epsilon: number;
  /** The feed-forward's GELU gates a second projection; otherwise there is one, and a ReLU. */
  readonly gated: boolean;
}

export function normal(variance: number): Init {
  return { kind: "normal", standardDeviation: Math.sqrt(variance) };
}

export interface AttentionSublayer {
  readonly name: string;
  readonly sizes: UnbiasedSizes;
  readonly causal: boolean;
  readonly bias?: Value;
}

/** x + output(attention(norm(x), memory)); unscaled scores. Without a memory, the normed x attends to itself. */
export function attentionSublayer(
  scope: LayerScope,
  x: Value,
  memory: Value | null,
  shape: AttentionSublayer,
): Value {
  const { name, sizes } = shape;
  const { hidden, heads, headWidth } = sizes;
  const inner = heads * headWidth;
  const normed = enterParallel(scope, rmsNorm(scope, `${name}.norm`, x, sizes.epsilon));
  const source = memory ? enterParallel(scope, memory) : normed;
  const project = (part: string, from: Value, variance: number): Value =>
    columnLinear(scope, `${name}.${part}`, from, {
      input: hidden,
      output: inner,
      bias: false,
      init: normal(variance),
    });
  const context = attention(
    scope,
    project("query", normed, 1 / (hidden * headWidth)),
    project("key", source, 1 / hidden),
    project("value", source, 1 / hidden),
    {
      heads,
      keyValueHeads: heads,
      headWidth,
      causal: shape.causal,
      scale: 1,
      ...(shape.bias ? { bias: shape.bias } : {}),
    },
  );
  const output = rowLinear(scope, `${name}.output`, context, {
    input: inner,
    output: hidden,
    bias: false,
    init: normal(1 / inner),
  });
  return scope.g.addProduct(x, output);
}

/** x + down(relu(up(norm(x)))), or x + down(gelu(gate(norm(x))) · up(norm(x))) (Shazeer 2020). */
export function feedForwardSublayer(scope: LayerScope, x: Value, sizes: UnbiasedSizes, inner: number): Value {
  const { g } = scope;
  const { hidden } = sizes;
  const entered = enterParallel(scope, rmsNorm(scope, "feedForward.norm", x, sizes.epsilon));
  const wide = (name: string): Value =>
    columnLinear(scope, `feedForward.${name}`, entered, {
      input: hidden,
      output: inner,
      bias: false,
      init: normal(1 / hidden),
    });
  const activated = sizes.gated ? g.mul(g.gelu(wide("gate"), "tanh"), wide("up")) : g.relu(wide("up"));
  const down = rowLinear(scope, "feedForward.down", innerDropout(scope, activated), {
    input: inner,
    output: hidden,
    bias: false,
    init: normal(1 / inner),
  });
  return g.addProduct(x, down);
}
