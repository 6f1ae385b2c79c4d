import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { positionsOf } from "./positions.js";

export interface ClassifierShape {
  readonly hidden: number;
  readonly classes: number;
  readonly init: Init;
}

/**
 * Class of each sample from one feature row `[1, b, H]`, of which the first rank of a tensor group holds the true one:
 * the others see their labels as ignored, so their loss and gradients are zero. Data "labels" int64 `[1, b]`.
 * Reports this rank's shares of the loss and of the right answers: a label counts as found where no class has a larger
 * logit.
 */
export function classifierLoss(scope: LayerScope, features: Value, shape: ClassifierShape): void {
  const { g } = scope;
  const { samples, lossTokens } = scope.request;
  const labels = g.reshape(scope.data("labels", "int64", [1, samples]), [samples]);
  const owner = scope.rankConstant("classifier.owner", "int64", [1], (rank) => [rank === 0 ? 1 : 0]);
  const isOwner = g.greaterOrEqual(owner, g.scalar(1, "int64"));
  const own = scope.degree === 1 ? labels : g.where(isOwner, labels, g.scalar(-100, "int64"));
  const weight = scope.parameter("output.weight", [shape.classes, shape.hidden], { init: shape.init });
  const bias = scope.parameter("output.bias", [shape.classes], { init: { kind: "zeros" } });
  const logits = g.reshape(g.linear(features, weight, bias), [samples, shape.classes]);
  const offset = g.constant([0], "int64", [1]);
  const attributes = { vocabulary: shape.classes, padded: false };
  const [maximum, sum] = g.node("SoftmaxCrossEntropyStatistics", [logits, offset], attributes);
  const logSumExp = g.add(maximum!, g.log(sum!));
  const loss = g.one("SoftmaxCrossEntropyLoss", [logits, own, offset, logSumExp], {
    ...attributes,
    scale: 1 / lossTokens,
  });
  scope.loss(loss, rightAnswers(scope, logits, own, maximum!));
}

/** This rank's share of the right answers, `[1]`: how many of its labels have the row's largest logit, by lossTokens. */
function rightAnswers(scope: LayerScope, logits: Value, labels: Value, maximum: Value): Value {
  const { g } = scope;
  const rows = labels.shape[0]!;
  const zero = g.scalar(0, "int64");
  const counts = g.greaterOrEqual(labels, zero);
  const column = g.reshape(g.where(counts, labels, zero), [rows, 1]);
  const found = g.cast(g.reshape(g.gatherElements(logits, column, 1), [rows]), maximum.dtype);
  const right = g.and(counts, g.greaterOrEqual(found, maximum));
  const one = g.scalar(1 / scope.request.lossTokens, maximum.dtype);
  return g.reduceSum(g.where(right, one, g.scalar(0, maximum.dtype)), [0], true);
}

/**
 * Mean `[1, b, H]` over the first `rows` of a sequence, from this rank's rows `[S / t, b, H]`. Every rank gets it, but only
 * the first counts the loss: the others' way back leads through its gradient.
 */
export function meanFeatures(scope: LayerScope, x: Value, sequence: number, rows: number): Value {
  const { g } = scope;
  const places = g.reshape(positionsOf(scope, sequence), [x.shape[0]!, 1, 1]);
  const counts = g.less(places, g.scalar(rows, "int64"));
  const share = g.where(counts, g.scalar(1 / rows, x.dtype), g.scalar(0, x.dtype));
  const sum = g.reduceSum(g.mul(x, share), [0], true);
  return g.copyToGroup(g.allReduce(sum, scope.degree, "sum"), scope.degree);
}
