import type { ModelSpec } from "../../model/model-spec.js";
import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { enterParallel } from "./parallel-linear.js";
import { positionsOf } from "./positions.js";

/** Rows of a vocabulary table: the vocabulary, padded where a "weights" group must cut it evenly. */
function paddedVocabulary(scope: LayerScope, vocabulary: number): number {
  return scope.cutsWeights ? Math.ceil(vocabulary / scope.degree) * scope.degree : vocabulary;
}

/** First row of the vocabulary that this rank holds, int64 `[1]`. */
function vocabularyOffset(scope: LayerScope, rows: number): Value {
  if (!scope.cutsWeights) return scope.g.constant([0], "int64", [1]);
  return scope.rankConstant("vocabulary.offset", "int64", [1], (rank) => [rank * (rows / scope.degree)]);
}

/** This rank's rows of loader data `[S, b]` under a cut sequence. */
function ownRows(scope: LayerScope, data: Value): Value {
  return scope.degree === 1 ? data : scope.g.gather(data, positionsOf(scope, data.shape[0]!));
}

/** The table of words, "token.weight", cut by rows over a "weights" group. */
export function tokenTable(
  scope: LayerScope,
  model: Pick<ModelSpec, "vocabulary">,
  hidden: number,
  init: Init,
): Value {
  const rows = paddedVocabulary(scope, model.vocabulary);
  const padding = rows === model.vocabulary ? {} : { unpaddedRows: model.vocabulary };
  return scope.parameter("token.weight", [rows, hidden], { cutAxis: 0, init, ...padding });
}

/**
 * Rows of a word table: tokens int64 `[S, b]` to `[S / t, b, H]`. Where a "weights" group cuts the table, each rank
 * looks up what it holds, and the sum over the ranks is scattered along the sequence.
 */
export function vocabularyRows(scope: LayerScope, table: Value, tokens: Value): Value {
  const { g } = scope;
  if (!scope.cutsWeights) return g.embedding(table, ownRows(scope, tokens), false);
  const local = g.sub(tokens, vocabularyOffset(scope, table.shape[0]! * scope.degree));
  return g.reduceScatter(g.embedding(table, local, true), scope.degree);
}

/** Token embedding: tokens int64 `[S, b]` to `[S / t, b, H]`. */
export function tokenEmbedding(
  scope: LayerScope,
  tokens: Value,
  model: Pick<ModelSpec, "vocabulary">,
  hidden: number,
  init: Init,
): Value {
  return vocabularyRows(scope, tokenTable(scope, model, hidden, init), tokens);
}

export interface HeadShape {
  readonly hidden: number;
  /** Classes: the vocabulary, or the labels of a classifier. */
  readonly classes: number;
  readonly name: string;
  readonly bias: boolean;
  readonly init: Init;
  readonly tiedTo?: string;
}

/**
 * Projection to the vocabulary and this rank's share of the mean cross entropy: 1 / lossTokens times the sum over the
 * rows it answers for. Under a "weights" group the ranks hold columns of the logits and a row counts where its label's
 * column lies; under a "sequence" group they hold rows.
 *
 * @param x `[S / t, b, H]`
 * @param labels int64 `[S, b]`, negative where ignored
 */
export function vocabularyLoss(scope: LayerScope, x: Value, labels: Value, shape: HeadShape): Value {
  const { g, degree } = scope;
  const rows = paddedVocabulary(scope, shape.classes);
  const padding = rows === shape.classes ? {} : { unpaddedRows: shape.classes };
  const weight = scope.parameter(`${shape.name}.weight`, [rows, shape.hidden], {
    cutAxis: 0,
    init: shape.init,
    ...(shape.tiedTo === undefined ? {} : { tiedTo: shape.tiedTo }),
    ...padding,
  });
  const bias = shape.bias
    ? scope.parameter(`${shape.name}.bias`, [rows], { cutAxis: 0, init: { kind: "zeros" }, ...padding })
    : null;
  const whole = enterParallel(scope, x);
  const answers = scope.cutsWeights ? labels : ownRows(scope, labels);
  const count = g.elementCount(answers);
  const product = g.linear(whole, weight, bias);
  const logits = g.reshape(product, [count, product.shape[2]!]);
  const flat = g.reshape(answers, [count]);
  const offset = vocabularyOffset(scope, rows);
  const attributes = { vocabulary: shape.classes, padded: rows !== shape.classes };
  const [maximum, sum] = g.node("SoftmaxCrossEntropyStatistics", [logits, offset], attributes);
  const group = scope.cutsWeights ? degree : 1;
  const wholeMaximum = g.allReduce(maximum!, group, "max");
  const rescaled = group === 1 ? sum! : g.mul(sum!, g.exp(g.sub(maximum!, wholeMaximum)));
  const logSumExp = g.add(wholeMaximum, g.log(g.allReduce(rescaled, group, "sum")));
  return g.one("SoftmaxCrossEntropyLoss", [logits, flat, offset, logSumExp], {
    ...attributes,
    scale: 1 / scope.request.lossTokens,
  });
}
