import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { attention } from "./attention.js";
import { dropPath } from "./dropout.js";
import { geluFeedForward } from "./feed-forward.js";
import { layerNorm } from "./normalization.js";
import { columnLinear, enterParallel, rowLinear } from "./parallel-linear.js";
import { fromWindows, toWindows, type Windows, windowBias } from "./windows.js";

export interface WindowBlock {
  readonly hidden: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly sequence: number;
  readonly epsilon: number;
  readonly approximate: "tanh" | "none";
  readonly init: Init;
  /** Stochastic depth of what attention adds, by number of the layer. */
  readonly dropPath: readonly number[];
}

/** Pre-norm block whose attention stays in windows (Liu et al. 2021, section 3.2). */
export function windowBlock(
  scope: LayerScope,
  name: string,
  x: Value,
  shape: WindowBlock,
  windows: Windows,
): Value {
  const { g } = scope;
  const { hidden, heads, epsilon, init } = shape;
  const square = { input: hidden, output: hidden, bias: true, init };
  const normed = enterParallel(scope, layerNorm(scope, `${name}.attention.norm`, x, epsilon));
  const project = (part: string): Value => columnLinear(scope, `${name}.attention.${part}`, normed, square);
  const table = scope.parameter(`${name}.attention.bias.weight`, [(2 * windows.window - 1) ** 2, heads], {
    init,
  });
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: false,
    scale: 1 / Math.sqrt(hidden / heads),
    bias: windowBias(scope, table, windows),
    arrange: {
      enter: (value) => toWindows(scope, value, windows),
      leave: (value) => fromWindows(scope, value, windows, shape.sequence),
    },
  });
  const attended = rowLinear(scope, `${name}.attention.output`, context, square);
  const middle = g.addProduct(x, dropPath(scope, attended, shape.dropPath));
  const entered = enterParallel(scope, layerNorm(scope, `${name}.feedForward.norm`, middle, epsilon));
  const fed = geluFeedForward(scope, entered, {
    name: `${name}.feedForward`,
    hidden,
    inner: shape.feedForward,
    approximate: shape.approximate,
    up: init,
    down: init,
  });
  return g.addProduct(middle, fed);
}
