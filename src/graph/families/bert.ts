import type { LayerKind, ModelSpec } from "../../model/model-spec.js";
import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { attention } from "../layers/attention.js";
import { geluFeedForward } from "../layers/feed-forward.js";
import { layerNorm } from "../layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../layers/parallel-linear.js";
import { positionsOf, tokenEmbedding, vocabularyLoss } from "../layers/vocabulary.js";
import type { FamilyLayers } from "./family-layers.js";

const BORDER = "hidden";

function init(model: ModelSpec): Init {
  return { kind: "normal", standardDeviation: Number(model.options.initializerRange) };
}

/** Words, positions and segments, normed. All tokens lie in segment 0: sequences are packed. */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  const words = tokenEmbedding(scope, tokens, model, hidden, init(model));
  const positions = scope.parameter("position.weight", [Number(model.options.positions), hidden], {
    init: init(model),
  });
  const segments = scope.parameter("segment.weight", [Number(model.options.segments), hidden], {
    init: init(model),
  });
  const rows = g.embedding(positions, positionsOf(scope, model.sequence), false);
  const segment = g.embedding(segments, g.constant([0], "int64", [1]), false);
  const places = g.add(rows, segment);
  const sum = g.add(words, g.reshape(places, [rows.shape[0]!, 1, hidden]));
  scope.borderOutput(BORDER, layerNorm(scope, "norm", sum, Number(model.options.epsilon)));
}

/** Post-norm block: norm(x + attention(x)), then norm(x + feedForward(x)). */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads } = kind;
  const epsilon = Number(model.options.epsilon);
  const square = { input: hidden, output: hidden, bias: true, init: init(model) };
  const x = scope.borderInput("input", kind.sequence, hidden);

  const whole = enterParallel(scope, x);
  const project = (name: string): Value => columnLinear(scope, `attention.${name}`, whole, square);
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: false,
    scale: 1 / Math.sqrt(hidden / heads),
  });
  const attended = g.addProduct(x, rowLinear(scope, "attention.output", context, square));
  const middle = layerNorm(scope, "attention.norm", attended, epsilon);
  const fed = geluFeedForward(scope, enterParallel(scope, middle), {
    hidden,
    inner: kind.feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: init(model),
    down: init(model),
  });
  scope.borderOutput(BORDER, layerNorm(scope, "feedForward.norm", g.addProduct(middle, fed), epsilon));
}

/** Masked-language-model head: norm(gelu(dense(x))), the word table and a bias for each word. */
function head(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const weight = scope.parameter("transform.weight", [hidden, hidden], { init: init(model) });
  const bias = scope.parameter("transform.bias", [hidden], { init: { kind: "zeros" } });
  const transformed = g.gelu(
    g.linear(x, weight, bias),
    model.options.activation === "gelu" ? "none" : "tanh",
  );
  const normed = layerNorm(scope, "norm", transformed, Number(model.options.epsilon));
  scope.loss(
    vocabularyLoss(scope, normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: true,
      init: init(model),
      ...(model.head.tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

/** BERT (Devlin et al. 2019): post-norm encoder with a masked-language-model head. */
export const BERT_LAYERS: FamilyLayers = { embedding, body, head };
