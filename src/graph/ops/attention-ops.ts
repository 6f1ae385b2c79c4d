import type { GraphBuilder } from "../graph-builder.js";
import { type Attributes, type CompositeOp, elementCount, type GraphNode, type Value } from "../ir.js";
import {
  flagAttribute,
  GraphError,
  numberAttribute,
  type OpDefinition,
  required,
  wideDtype,
} from "./op-definition.js";

type AttentionOp = Extract<CompositeOp, "Attention" | "AttentionGradient">;
type Shape4 = readonly [number, number, number, number];

/** Large enough to vanish in a softmax, small enough to stay finite in every type. */
const MASKED = -1e30;

/** `[b, h, S, d]` to sequence-first. */
const SEQUENCE_FIRST = [2, 0, 1, 3];

/** Repeats each key head for the query heads of its group: `[S, b, g, d]` to `[S, b, h, d]`. */
function repeatHeads(g: GraphBuilder, x: Value, heads: number): Value {
  const [s, b, groups, d] = x.shape as Shape4;
  if (groups === heads) return x;
  const repeated = g.expand(g.reshape(x, [s, b, groups, 1, d]), [s, b, groups, heads / groups, d]);
  return g.reshape(repeated, [s, b, heads, d]);
}

/** The gradient of {@link repeatHeads}. */
function sumHeads(g: GraphBuilder, x: Value, groups: number): Value {
  const [s, b, heads, d] = x.shape as Shape4;
  if (groups === heads) return x;
  return g.reduceSum(g.reshape(x, [s, b, groups, heads / groups, d]), [3], false);
}

function causalMask(g: GraphBuilder, queries: number, keys: number, like: Value): Value {
  const rows = Array.from({ length: queries }, (_, i) => i + keys - queries);
  const columns = Array.from({ length: keys }, (_, i) => i);
  const seen = g.greaterOrEqual(
    g.constant(rows, "float32", [queries, 1]),
    g.constant(columns, "float32", [1, keys]),
  );
  return g.where(seen, g.scalar(0, like.dtype), g.scalar(MASKED, like.dtype));
}

/** `[b, h, Sq, Sk]` with a bias `[n, h, Sq, Sk]` added, sample j taking bias j mod n. */
function addBias(g: GraphBuilder, scores: Value, bias: Value): Value {
  const [b, h, sq, sk] = scores.shape as Shape4;
  const n = bias.shape[0]!;
  if (n === b || n === 1) return g.add(scores, bias);
  const split = g.reshape(scores, [b / n, n, h, sq, sk]);
  return g.reshape(g.add(split, g.reshape(bias, [1, n, h, sq, sk])), [b, h, sq, sk]);
}

function scoresOf(g: GraphBuilder, q: Value, k: Value, bias: Value | null, attributes: Attributes): Value {
  let scores = g.matMul(q, k, {
    transBatchA: true,
    transBatchB: true,
    transB: true,
    alpha: numberAttribute(attributes, "scale"),
  });
  if (bias) scores = addBias(g, scores, bias);
  if (flagAttribute(attributes, "causal")) {
    scores = g.add(scores, causalMask(g, q.shape[0]!, k.shape[0]!, scores));
  }
  return scores;
}

/** Attention in ops that have gradients of their own, with something done to its probabilities `[b, h, Sq, Sk]`. */
export function attentionFrom(
  g: GraphBuilder,
  inputs: readonly (Value | null)[],
  attributes: Attributes,
  change: (probabilities: Value) => Value,
): Value {
  const q = required(inputs, 0);
  const k = repeatHeads(g, required(inputs, 1), q.shape[2]!);
  const v = repeatHeads(g, required(inputs, 2), q.shape[2]!);
  const probabilities = change(g.softmax(scoresOf(g, q, k, inputs[3] ?? null, attributes)));
  return g.transpose(g.matMul(probabilities, v, { transBatchB: true }), SEQUENCE_FIRST);
}

function flops(perProduct: number): (node: GraphNode) => number {
  return (node) => {
    const offset = node.op === "Attention" ? 0 : 1;
    const [q, k] = [required(node.inputs, offset), required(node.inputs, offset + 1)];
    const whole = perProduct * 2 * elementCount(q.shape) * k.shape[0]!;
    return flagAttribute(node.attributes, "causal") ? whole / 2 : whole;
  };
}

/** Scaled dot-product attention (Vaswani et al. 2017) with grouped heads (Ainslie et al. 2023). */
export const ATTENTION_OPS: Readonly<Record<AttentionOp, OpDefinition>> = {
  Attention: {
    infer: (inputs, attributes) => {
      const [q, k, v] = [required(inputs, 0), required(inputs, 1), required(inputs, 2)];
      const [sq, b, h, d] = q.shape as Shape4;
      const [sk, kb, groups, kd] = k.shape as Shape4;
      if (kb !== b || kd !== d || h % groups !== 0 || v.shape.some((extent, i) => extent !== k.shape[i])) {
        throw new GraphError(`Attention: q [${q.shape}], k [${k.shape}], v [${v.shape}] do not fit`);
      }
      const bias = inputs[3] ?? null;
      if (bias) {
        const [n, bh, bq, bk] = bias.shape as Shape4;
        if (bh !== h || bq !== sq || bk !== sk || b % n !== 0) {
          throw new GraphError(`Attention: bias [${bias.shape}] does not fit q [${q.shape}], k [${k.shape}]`);
        }
      }
      const statistics =
        attributes.keep === "probabilities"
          ? { dtype: q.dtype, shape: [b, h, sq, sk] }
          : { dtype: wideDtype(q.dtype), shape: [b, h, sq] };
      return [{ dtype: q.dtype, shape: q.shape }, statistics];
    },
    gradient: (g, node, [dcontext]) => {
      if (!dcontext) return [null, null, null, null];
      const [q, k, v, bias] = node.inputs;
      const gradients = g.node(
        "AttentionGradient",
        [dcontext, q!, k!, v!, bias ?? null, ...node.outputs],
        node.attributes,
      );
      return bias ? gradients : [...gradients, null];
    },
    decompose: (g, inputs, attributes) => {
      const q = required(inputs, 0);
      const k = repeatHeads(g, required(inputs, 1), q.shape[2]!);
      const v = repeatHeads(g, required(inputs, 2), q.shape[2]!);
      const scores = scoresOf(g, q, k, inputs[3] ?? null, attributes);
      const probabilities = g.softmax(scores);
      const context = g.transpose(g.matMul(probabilities, v, { transBatchB: true }), SEQUENCE_FIRST);
      if (attributes.keep === "probabilities") return [context, probabilities];
      // The largest probability is exp(max − logSumExp), and never too small to have a logarithm.
      const largest = g.log(g.reduceMax(probabilities, [3], false));
      return [context, g.sub(g.reduceMax(scores, [3], false), largest)];
    },
    flops: flops(2),
  },
  AttentionGradient: {
    infer: (inputs) => {
      const like = (index: number): Value => required(inputs, index);
      return [1, 2, 3, ...(inputs[4] ? [4] : [])].map((i) => ({
        dtype: like(i).dtype,
        shape: like(i).shape,
      }));
    },
    decompose: (g, inputs, attributes) => {
      const [dcontext, q] = [required(inputs, 0), required(inputs, 1)];
      const [groups, heads] = [required(inputs, 2).shape[2]!, q.shape[2]!];
      const k = repeatHeads(g, required(inputs, 2), heads);
      const v = repeatHeads(g, required(inputs, 3), heads);
      const bias = inputs[4] ?? null;
      const context = required(inputs, 5);
      const alpha = numberAttribute(attributes, "scale");
      const statistics = required(inputs, 6);
      const [sq, b, h] = q.shape as Shape4;
      const probabilities =
        attributes.keep === "probabilities"
          ? statistics
          : g.exp(g.sub(scoresOf(g, q, k, bias, attributes), g.reshape(statistics, [b, h, sq, 1])));
      const dv = g.matMul(probabilities, dcontext, { transA: true, transBatchB: true });
      const dprobabilities = g.matMul(dcontext, v, { transBatchA: true, transBatchB: true, transB: true });
      // Row sums of probabilities · dprobabilities equal those of context · dcontext, which are shorter.
      const inner = g.reduceSum(g.mul(context, dcontext), [3], true);
      const dscores = g.mul(probabilities, g.sub(dprobabilities, g.transpose(inner, [1, 2, 0, 3])));
      const dq = g.matMul(dscores, k, { transBatchB: true, alpha });
      const dk = g.matMul(dscores, q, { transA: true, transBatchB: true, alpha });
      const gradients = [
        g.transpose(dq, SEQUENCE_FIRST),
        sumHeads(g, g.transpose(dk, SEQUENCE_FIRST), groups),
        sumHeads(g, g.transpose(dv, SEQUENCE_FIRST), groups),
      ];
      if (!bias) return gradients;
      const n = bias.shape[0]!;
      const [, , , sk] = dscores.shape as Shape4;
      const dbias = n === b ? dscores : g.reduceSum(g.reshape(dscores, [b / n, n, h, sq, sk]), [0], false);
      return [...gradients, dbias];
    },
    flops: flops(5),
  },
};
