import type { LayerKind, ModelSpec } from "../../model/model-spec.js";
import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { attention } from "../layers/attention.js";
import { swiGluFeedForward } from "../layers/feed-forward.js";
import { rmsNorm } from "../layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../layers/parallel-linear.js";
import { rotaryTables } from "../layers/rotary-tables.js";
import { tokenEmbedding, vocabularyLoss } from "../layers/vocabulary.js";
import type { FamilyLayers } from "./family-layers.js";

const BORDER = "hidden";

function init(model: ModelSpec): Init {
  return { kind: "normal", standardDeviation: Number(model.options.initializerRange) };
}

function embedding(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  scope.borderOutput(BORDER, tokenEmbedding(scope, tokens, model, hidden, init(model)));
}

/** Pre-norm block: x + attention(norm(x)), then x + feedForward(norm(x)). */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads, keyValueHeads } = kind;
  const headWidth = Number(model.options.headWidth);
  const epsilon = Number(model.options.epsilon);
  const bias = model.options.queryKeyValueBias === true;
  const x = scope.borderInput("input", kind.sequence, hidden);

  const normed = enterParallel(scope, rmsNorm(scope, "attention.norm", x, epsilon));
  const project = (name: string, count: number): Value =>
    columnLinear(scope, `attention.${name}`, normed, {
      input: hidden,
      output: count * headWidth,
      bias,
      init: init(model),
    });
  const { cosine, sine } = rotaryTables(scope, kind.sequence, headWidth, Number(model.options.theta));
  const [q, k, v] = [project("query", heads), project("key", keyValueHeads), project("value", keyValueHeads)];
  const context = attention(scope, q, k, v, {
    heads,
    keyValueHeads,
    headWidth,
    causal: true,
    scale: 1 / Math.sqrt(headWidth),
    rotate: (value) => g.rotary(value, cosine, sine),
  });
  const attended = rowLinear(scope, "attention.output", context, {
    input: heads * headWidth,
    output: hidden,
    bias: false,
    init: init(model),
  });
  const middle = g.addProduct(x, attended);
  const entered = enterParallel(scope, rmsNorm(scope, "feedForward.norm", middle, epsilon));
  const fed = swiGluFeedForward(scope, entered, { hidden, inner: kind.feedForward, init: init(model) });
  scope.borderOutput(BORDER, g.addProduct(middle, fed));
}

function head(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const normed = rmsNorm(scope, "norm", x, Number(model.options.epsilon));
  scope.loss(
    vocabularyLoss(scope, normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: false,
      init: init(model),
      ...(model.head.tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

/** LLaMA (Touvron et al. 2023) and Qwen2 (Yang et al. 2024): RMS norm, rotary positions, SwiGLU, grouped heads. */
export const LLAMA_LAYERS: FamilyLayers = { embedding, body, head };
