import type { CollectiveOp, Value, ValueType } from "../ir.js";
import { GraphError, numberAttribute, type OpDefinition, required } from "./op-definition.js";

function scaled(inputs: readonly (Value | null)[], factor: (extent: number) => number): readonly ValueType[] {
  const x = required(inputs, 0);
  const [extent, ...rest] = x.shape;
  const result = factor(extent ?? 0);
  if (!Number.isInteger(result) || extent === undefined) {
    throw new GraphError(`collective: axis 0 of [${x.shape}] does not divide over the group`);
  }
  return [{ dtype: x.dtype, shape: [result, ...rest] }];
}

/**
 * Collectives over the tensor group, along axis 0, with their conjugates (Korthikanti et al. 2022, section 4.2.2).
 * `degree` is the size of the group.
 */
export const COLLECTIVE_OPS: Readonly<Record<CollectiveOp, OpDefinition>> = {
  AllGather: {
    infer: (inputs, attributes) => scaled(inputs, (extent) => extent * numberAttribute(attributes, "degree")),
    gradient: (g, node, [dy]) => [
      dy ? g.reduceScatter(dy, numberAttribute(node.attributes, "degree")) : null,
    ],
  },
  ReduceScatter: {
    infer: (inputs, attributes) => scaled(inputs, (extent) => extent / numberAttribute(attributes, "degree")),
    gradient: (g, node, [dy]) => [dy ? g.allGather(dy, numberAttribute(node.attributes, "degree")) : null],
  },
  /** Every rank goes on alike with the reduced value, so the gradient it makes is already whole. */
  AllReduce: {
    infer: (inputs) => scaled(inputs, (extent) => extent),
    gradient: (_g, node, [dy]) => {
      if (node.attributes.reduction !== "sum") throw new GraphError("AllReduce: only the sum has a gradient");
      return [dy ?? null];
    },
  },
  AllToAll: {
    infer: (inputs, attributes) => {
      scaled(inputs, (extent) => extent / numberAttribute(attributes, "degree"));
      return scaled(inputs, (extent) => extent);
    },
    gradient: (g, node, [dy]) => [dy ? g.allToAll(dy, numberAttribute(node.attributes, "degree")) : null],
  },
  /** Identity into a region that every rank computes differently: the gradients of the ranks are summed. */
  CopyToGroup: {
    infer: (inputs) => scaled(inputs, (extent) => extent),
    gradient: (g, node, [dy]) => [
      dy ? g.allReduce(dy, numberAttribute(node.attributes, "degree"), "sum") : null,
    ],
  },
};
