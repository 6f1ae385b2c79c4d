import { swinStage } from "../../model/families/swin.js";
import type { LayerKind, ModelSpec } from "../../model/model-spec.js";
import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { attention } from "../layers/attention.js";
import { classifierLoss } from "../layers/classifier.js";
import { geluFeedForward } from "../layers/feed-forward.js";
import { layerNorm } from "../layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../layers/parallel-linear.js";
import { positionsOf } from "../layers/vocabulary.js";
import { fromWindows, toWindows, type Windows, windowBias } from "../layers/windows.js";
import type { FamilyLayers } from "./family-layers.js";

const BORDER = "hidden";

function init(model: ModelSpec): Init {
  return { kind: "normal", standardDeviation: Number(model.options.initializerRange) };
}

function epsilonOf(model: ModelSpec): number {
  return Number(model.options.epsilon);
}

/** This rank's rows of a tensor `[rows, b, width]` that every rank holds, zeros beyond its end. */
function ownPadded(scope: LayerScope, x: Value, sequence: number): Value {
  const { g } = scope;
  const [rows, samples, width] = x.shape as readonly [number, number, number];
  if (scope.degree === 1) return g.pad(x, 0, 0, sequence - rows);
  const flat = g.reshape(x, [rows, samples * width]);
  const own = g.embedding(flat, positionsOf(scope, sequence), true);
  return g.reshape(own, [own.shape[0]!, samples, width]);
}

/** Data "pixels" `[patches, b, channels · patch²]`, patches row by row, values in the order channel, row, column. */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const { side, hidden, sequence } = swinStage(model, 1);
  const width = Number(model.options.channels) * Number(model.options.patch) ** 2;
  const pixels = scope.data("pixels", "float32", [side * side, scope.request.samples, width]);
  const weight = scope.parameter("patch.weight", [hidden, width], { init: init(model) });
  const bias = scope.parameter("patch.bias", [hidden], { init: { kind: "zeros" } });
  const places = positionsOf(scope, sequence);
  const inside = g.less(places, g.scalar(side * side, "int64"));
  const own = g.gather(pixels, g.where(inside, places, g.scalar(0, "int64")));
  const patches = g.linear(g.cast(own, scope.dtype), weight, bias);
  scope.borderOutput(BORDER, layerNorm(scope, "norm", patches, epsilonOf(model)));
}

/** Pre-norm block whose attention stays in windows. */
function block(
  scope: LayerScope,
  model: ModelSpec,
  kind: LayerKind,
  name: string,
  x: Value,
  windows: Windows,
): Value {
  const { g } = scope;
  const { hidden, heads } = kind;
  const epsilon = epsilonOf(model);
  const square = { input: hidden, output: hidden, bias: true, init: init(model) };
  const normed = enterParallel(scope, layerNorm(scope, `${name}.attention.norm`, x, epsilon));
  const project = (part: string): Value => columnLinear(scope, `${name}.attention.${part}`, normed, square);
  const table = scope.parameter(`${name}.attention.bias.weight`, [(2 * windows.window - 1) ** 2, heads], {
    init: init(model),
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
      leave: (value) => fromWindows(scope, value, windows, kind.sequence),
    },
  });
  const middle = g.addProduct(x, rowLinear(scope, `${name}.attention.output`, context, square));
  const entered = enterParallel(scope, layerNorm(scope, `${name}.feedForward.norm`, middle, epsilon));
  const fed = geluFeedForward(scope, entered, {
    name: `${name}.feedForward`,
    hidden,
    inner: kind.feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: init(model),
    down: init(model),
  });
  return g.addProduct(middle, fed);
}

/** Two blocks, the second with shifted windows, unless one window holds the whole grid. */
function pair(scope: LayerScope, model: ModelSpec, kind: LayerKind, stage: number): void {
  const { side, window } = swinStage(model, stage);
  const shift = side > window ? Math.floor(window / 2) : 0;
  const x = scope.borderInput("input", kind.sequence, kind.hidden);
  const first = block(scope, model, kind, "first", x, { side, window, shift: 0 });
  scope.borderOutput(BORDER, block(scope, model, kind, "second", first, { side, window, shift }));
}

/** Patch merging: each 2 × 2 neighbourhood becomes one token of twice the width. */
function merge(scope: LayerScope, model: ModelSpec, stage: number): void {
  const { g } = scope;
  const { side, hidden, sequence } = swinStage(model, stage);
  const next = swinStage(model, stage + 1);
  const { samples } = scope.request;
  const x = scope.borderInput("input", sequence, hidden);
  const whole = g.slice(g.allGather(x, scope.degree), 0, 0, side * side);
  const half = side / 2;
  // Within a neighbourhood the columns come before the rows: (0,0), (1,0), (0,1), (1,1).
  const tiles = g.reshape(whole, [half, 2, half, 2, samples, hidden]);
  const ordered = g.transpose(tiles, [0, 2, 4, 3, 1, 5]);
  const merged = ownPadded(scope, g.reshape(ordered, [half * half, samples, 4 * hidden]), next.sequence);
  const normed = layerNorm(scope, "norm", merged, epsilonOf(model));
  const weight = scope.parameter("reduction.weight", [next.hidden, 4 * hidden], { init: init(model) });
  scope.borderOutput(BORDER, g.linear(normed, weight, null));
}

function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const stage = Number(kind.name.slice(-1));
  if (kind.name.startsWith("merge")) merge(scope, model, stage);
  else pair(scope, model, kind, stage);
}

/** Class from the mean over all tokens. */
function head(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const { side, hidden, sequence } = swinStage(model, Number(model.options.stages));
  const x = scope.borderInput("input", sequence, hidden);
  const normed = layerNorm(scope, "norm", x, epsilonOf(model));
  const places = g.reshape(positionsOf(scope, sequence), [normed.shape[0]!, 1, 1]);
  const share = g.where(
    g.less(places, g.scalar(side * side, "int64")),
    g.scalar(1 / (side * side), normed.dtype),
    g.scalar(0, normed.dtype),
  );
  const sum = g.reduceSum(g.mul(normed, share), [0], true);
  // Every rank gets the mean, but only the first counts the loss: the others' way back leads through its gradient.
  const mean = g.copyToGroup(g.allReduce(sum, scope.degree, "sum"), scope.degree);
  scope.loss(classifierLoss(scope, mean, { hidden, classes: model.vocabulary, init: init(model) }));
}

/** Swin (Liu et al. 2021): windows and shifted windows in stages of falling resolution. */
export const SWIN_LAYERS: FamilyLayers = { embedding, body, head };
