import type { GraphBuilder } from "../graph-builder.js";
import { type Attributes, type CompositeOp, elementCount, type GraphNode, type Value } from "../ir.js";
import { GraphError, numberAttribute, type OpDefinition, required, wideDtype } from "./op-definition.js";

type CrossEntropyOp = Extract<
  CompositeOp,
  "SoftmaxCrossEntropyStatistics" | "SoftmaxCrossEntropyLoss" | "SoftmaxCrossEntropyGradient"
>;

const MASKED = -1e30;

/** Logits with the padding columns of the vocabulary at minus infinity, in effect. */
function withoutPadding(g: GraphBuilder, logits: Value, offset: Value, attributes: Attributes): Value {
  const columns = logits.shape[1]!;
  if (attributes.padded !== true) return logits;
  const iota = g.constant(
    Array.from({ length: columns }, (_, i) => i),
    "int64",
    [columns],
  );
  const vocabulary = g.scalar(numberAttribute(attributes, "vocabulary"), "int64");
  return g.where(g.less(g.add(iota, offset), vocabulary), logits, g.scalar(MASKED, logits.dtype));
}

/** The row maximum, and the softmax with its own maximum, which is exp(maximum − logSumExp) and never tiny. */
function localSoftmax(g: GraphBuilder, logits: Value): readonly [Value, Value, Value] {
  const softmax = g.softmax(logits);
  return [softmax, g.reduceMax(logits, [1], false), g.reduceMax(softmax, [1], false)];
}

/** Rows whose label lies in this rank's columns, and the column (0 elsewhere). */
function ownLabels(
  g: GraphBuilder,
  labels: Value,
  offset: Value,
  columns: number,
): { readonly owned: Value; readonly column: Value } {
  const zero = g.scalar(0, "int64");
  const local = g.sub(labels, offset);
  // An ignored label is negative already, and offsets are not: it is never owned.
  const owned = g.and(g.greaterOrEqual(local, zero), g.less(local, g.scalar(columns, "int64")));
  return { owned, column: g.where(owned, local, zero) };
}

const flops =
  (perElement: number) =>
  (node: GraphNode): number =>
    perElement * elementCount(node.inputs[0]!.shape);

function checkLogits(inputs: readonly (Value | null)[]): Value {
  const logits = required(inputs, 0);
  if (logits.shape.length !== 2)
    throw new GraphError(`cross entropy: logits are [${logits.shape}], not [rows, V]`);
  return logits;
}

/**
 * Cross entropy over a vocabulary that may be cut over the tensor group: each rank's statistics are combined with two
 * small all-reduces into logSumExp `[rows]`, and only the rank that owns a row's label adds that row's loss.
 *
 * The loss's gradient rule is the total one: it counts the way through logSumExp, whose input carries none.
 */
export const CROSS_ENTROPY_OPS: Readonly<Record<CrossEntropyOp, OpDefinition>> = {
  SoftmaxCrossEntropyStatistics: {
    infer: (inputs) => {
      const logits = checkLogits(inputs);
      const type = { dtype: wideDtype(logits.dtype), shape: [logits.shape[0]!] };
      return [type, type];
    },
    decompose: (g, inputs, attributes) => {
      const logits = withoutPadding(g, required(inputs, 0), required(inputs, 1), attributes);
      const [, maximum, largest] = localSoftmax(g, logits);
      return [maximum, g.reciprocal(largest)];
    },
    flops: flops(4),
  },
  SoftmaxCrossEntropyLoss: {
    infer: (inputs) => {
      const logits = checkLogits(inputs);
      const labels = required(inputs, 1);
      if (labels.dtype !== "int64" || labels.shape.length !== 1 || labels.shape[0] !== logits.shape[0]) {
        throw new GraphError(
          `cross entropy: labels ${labels.dtype}[${labels.shape}], logits [${logits.shape}]`,
        );
      }
      return [{ dtype: wideDtype(logits.dtype), shape: [1] }];
    },
    gradient: (g, node, [dloss]) => {
      if (!dloss) return [null, null, null, null];
      const dlogits = g.one("SoftmaxCrossEntropyGradient", node.inputs, node.attributes);
      const seed = dloss.node;
      const isOne = seed?.op === "Constant" && (seed.attributes.values as readonly number[])[0] === 1;
      return [isOne ? dlogits : g.mul(dlogits, g.cast(dloss, dlogits.dtype)), null, null, null];
    },
    decompose: (g, inputs, attributes) => {
      const [logits, labels] = [required(inputs, 0), required(inputs, 1)];
      const [offset, logSumExp] = [required(inputs, 2), required(inputs, 3)];
      const rows = logits.shape[0]!;
      const { owned, column } = ownLabels(g, labels, offset, logits.shape[1]!);
      const picked = g.reshape(g.gatherElements(logits, g.reshape(column, [rows, 1]), 1), [rows]);
      const losses = g.where(owned, g.sub(logSumExp, picked), g.scalar(0, logits.dtype));
      const scale = g.scalar(numberAttribute(attributes, "scale"), logits.dtype);
      return [g.mul(g.reduceSum(losses, [0], true), scale)];
    },
    flops: (node) => 2 * node.inputs[0]!.shape[0]!,
  },
  SoftmaxCrossEntropyGradient: {
    infer: (inputs) => {
      const logits = checkLogits(inputs);
      return [{ dtype: logits.dtype, shape: logits.shape }];
    },
    decompose: (g, inputs, attributes) => {
      const [labels, offset] = [required(inputs, 1), required(inputs, 2)];
      const logits = withoutPadding(g, required(inputs, 0), offset, attributes);
      const rows = logits.shape[0]!;
      const zero = g.scalar(0, logits.dtype);
      const scale = g.scalar(numberAttribute(attributes, "scale"), logits.dtype);
      const counted = g.where(g.greaterOrEqual(labels, g.scalar(0, "int64")), scale, zero);
      // This rank's softmax, brought to the softmax over all ranks.
      const [softmax, maximum, largest] = localSoftmax(g, logits);
      const localLogSumExp = g.sub(maximum, g.log(largest));
      const share = g.mul(g.exp(g.sub(localLogSumExp, required(inputs, 3))), counted);
      const dense = g.mul(softmax, g.reshape(share, [rows, 1]));
      const { owned, column } = ownLabels(g, labels, offset, logits.shape[1]!);
      const hit = g.where(owned, g.neg(scale), zero);
      return [g.scatterElements(dense, g.reshape(column, [rows, 1]), g.reshape(hit, [rows, 1]), 1)];
    },
    flops: flops(6),
  },
};
