import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";

export interface ClassifierShape {
  readonly hidden: number;
  readonly classes: number;
  readonly init: Init;
}

/**
 * Class of each sample from one feature row `[1, b, H]`, of which the first rank of a tensor group holds the true one:
 * the others see their labels as ignored, so their loss and gradients are zero. Data "labels" int64 `[1, b]`.
 */
export function classifierLoss(scope: LayerScope, features: Value, shape: ClassifierShape): Value {
  const { g } = scope;
  const samples = scope.request.samples;
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
  return g.one("SoftmaxCrossEntropyLoss", [logits, own, offset, logSumExp], {
    ...attributes,
    scale: 1 / scope.request.lossTokens,
  });
}
