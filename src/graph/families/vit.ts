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
import type { FamilyLayers } from "./family-layers.js";

const BORDER = "hidden";

function init(model: ModelSpec): Init {
  return { kind: "normal", standardDeviation: Number(model.options.initializerRange) };
}

/**
 * Data "pixels" `[patches, b, channels · patch²]`, a patch's values in the order channel, row, column. Row 0 of the
 * sequence is the class token, the patches follow, and the rows beyond them pad the sequence so that it divides:
 * nobody attends to them, so they change nothing and get no gradient.
 */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = Number(model.options.tokens);
  const width = Number(model.options.channels) * Number(model.options.patch) ** 2;
  const pixels = scope.data("pixels", "float32", [tokens - 1, scope.request.samples, width]);
  const weight = scope.parameter("patch.weight", [hidden, width], { init: init(model) });
  const bias = scope.parameter("patch.bias", [hidden], { init: { kind: "zeros" } });
  const classToken = scope.parameter("class.weight", [hidden], { decay: true, init: init(model) });
  const table = scope.parameter("position.weight", [tokens, hidden], { init: init(model) });

  const places = positionsOf(scope, model.sequence);
  const column = g.reshape(places, [places.shape[0]!, 1, 1]);
  const [zero, one, count] = [0, 1, tokens].map((n) => g.scalar(n, "int64")) as [Value, Value, Value];
  const isPatch = g.and(g.greaterOrEqual(column, one), g.less(column, count));
  const source = g.where(g.reshape(isPatch, places.shape), g.sub(places, one), zero);
  const patches = g.linear(g.cast(g.gather(pixels, source), scope.dtype), weight, bias);
  const blank = g.scalar(0, scope.dtype);
  const first = g.where(g.equal(column, zero), classToken, blank);
  const content = g.add(g.where(isPatch, patches, blank), first);
  const rows = g.embedding(table, places, true);
  scope.borderOutput(BORDER, g.add(content, g.reshape(rows, [rows.shape[0]!, 1, hidden])));
}

/** Pre-norm encoder block. */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads } = kind;
  const epsilon = Number(model.options.epsilon);
  const square = { input: hidden, output: hidden, bias: true, init: init(model) };
  const x = scope.borderInput("input", kind.sequence, hidden);

  const normed = enterParallel(scope, layerNorm(scope, "attention.norm", x, epsilon));
  const project = (name: string): Value => columnLinear(scope, `attention.${name}`, normed, square);
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: false,
    scale: 1 / Math.sqrt(hidden / heads),
    keys: Number(model.options.tokens),
  });
  const middle = g.addProduct(x, rowLinear(scope, "attention.output", context, square));
  const entered = enterParallel(scope, layerNorm(scope, "feedForward.norm", middle, epsilon));
  const fed = geluFeedForward(scope, entered, {
    hidden,
    inner: kind.feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: init(model),
    down: init(model),
  });
  scope.borderOutput(BORDER, g.addProduct(middle, fed));
}

/** Class of the image from the class token, which the first rank of a tensor group holds. */
function head(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const normed = layerNorm(scope, "norm", scope.g.slice(x, 0, 0, 1), Number(model.options.epsilon));
  scope.loss(classifierLoss(scope, normed, { hidden, classes: model.vocabulary, init: init(model) }));
}

/** ViT (Dosovitskiy et al. 2021): pre-norm encoder over patches and a class token. */
export const VIT_LAYERS: FamilyLayers = { embedding, body, head };
