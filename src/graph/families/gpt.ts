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

/** GPT-2's initialisation (Radford et al. 2019): 0.02, and less for projections into the residual stream. */
function inits(model: ModelSpec): { readonly weight: Init; readonly residual: Init } {
  const standardDeviation = Number(model.options.initializerRange);
  return {
    weight: { kind: "normal", standardDeviation },
    residual: { kind: "normal", standardDeviation: standardDeviation / Math.sqrt(2 * model.layers.length) },
  };
}

function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  const { weight } = inits(model);
  const words = tokenEmbedding(scope, tokens, model, hidden, weight);
  const table = scope.parameter("position.weight", [Number(model.options.positions), hidden], {
    init: weight,
  });
  const positions = positionsOf(scope, model.sequence);
  const rows = g.one("Embedding", [table, positions], { checked: false });
  scope.borderOutput(BORDER, g.add(words, g.reshape(rows, [rows.shape[0]!, 1, hidden])));
}

/** Pre-norm block: x + attention(norm(x)), then x + feedForward(norm(x)). */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads, feedForward } = kind;
  const { weight, residual } = inits(model);
  const epsilon = Number(model.options.epsilon);
  const x = scope.borderInput("input", kind.sequence, hidden);
  const square = { input: hidden, output: hidden, bias: true };

  const normed = enterParallel(scope, layerNorm(scope, "attention.norm", x, epsilon));
  const project = (name: string): Value =>
    columnLinear(scope, `attention.${name}`, normed, { ...square, init: weight });
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: true,
    scale: 1 / Math.sqrt(hidden / heads),
  });
  const middle = g.addProduct(
    x,
    rowLinear(scope, "attention.output", context, { ...square, init: residual }),
  );

  const entered = enterParallel(scope, layerNorm(scope, "feedForward.norm", middle, epsilon));
  const down = geluFeedForward(scope, entered, {
    hidden,
    inner: feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: weight,
    down: residual,
  });
  scope.borderOutput(BORDER, g.addProduct(middle, down));
}

function head(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const normed = layerNorm(scope, "norm", x, Number(model.options.epsilon));
  scope.loss(
    vocabularyLoss(scope, normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: false,
      init: inits(model).weight,
      ...(model.head.tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

/** GPT-2 (Radford et al. 2019): pre-norm decoder, learned positions, GELU, biases everywhere. */
export const GPT_LAYERS: FamilyLayers = { embedding, body, head };
