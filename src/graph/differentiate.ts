import type { GraphBuilder } from "./graph-builder.js";
import type { Value } from "./ir.js";
import { OP_DEFINITIONS } from "./op-definitions.js";
import { GraphError } from "./ops/op-definition.js";

/** A value and the gradient of the loss with respect to it. */
export type Seed = readonly [value: Value, gradient: Value];

/**
 * Sums two gradient contributions. A contribution that is a matrix product takes the other one as its addend: one
 * pass over memory less.
 */
function accumulate(g: GraphBuilder, a: Value, b: Value): Value {
  for (const [sum, product] of [
    [a, b],
    [b, a],
  ] as const) {
    const node = product.node;
    if (node?.op === "LinearInputGradient" && !node.inputs[2] && sum.dtype === product.dtype) {
      return g.one("LinearInputGradient", [node.inputs[0]!, node.inputs[1]!, sum]);
    }
  }
  if (a.dtype === b.dtype) return g.add(a, b);
  // A parameter's gradient in float32 meets one in bfloat16: the wider stays.
  return g.add(g.cast(a, "float32"), g.cast(b, "float32"));
}

/**
 * Reverse-mode differentiation (Griewank & Walther 2008, chapter 3): adds the nodes that compute the gradients of
 * `wrt` to the builder, from those of the seeds.
 *
 * @returns one gradient for each of `wrt`, `null` where none depends on it
 */
export function differentiate(
  g: GraphBuilder,
  seeds: readonly Seed[],
  wrt: readonly Value[],
): readonly (Value | null)[] {
  const gradients = new Map<number, Value>();
  const contribute = (value: Value, gradient: Value): void => {
    if (gradient.shape.length !== value.shape.length || gradient.shape.some((e, i) => e !== value.shape[i])) {
      const maker = value.node?.op ?? "input";
      throw new GraphError(`gradient [${gradient.shape}] of ${maker} [${value.shape}]`);
    }
    const before = gradients.get(value.id);
    gradients.set(value.id, before ? accumulate(g, before, gradient) : gradient);
  };
  const needed = new Set(wrt.map((value) => value.id));
  const last = g.nodes.length;
  for (const node of g.nodes) {
    if (node.inputs.some((input) => input && needed.has(input.id))) {
      for (const output of node.outputs) needed.add(output.id);
    }
  }
  for (const [value, gradient] of seeds) contribute(value, gradient);
  for (let i = last - 1; i >= 0; i--) {
    const node = g.nodes[i]!;
    const outputGradients = node.outputs.map((output) => gradients.get(output.id) ?? null);
    if (outputGradients.every((gradient) => gradient === null)) continue;
    if (!node.inputs.some((input) => input && needed.has(input.id))) continue;
    const { gradient: rule, absorbs } = OP_DEFINITIONS[node.op];
    if (!rule) throw new GraphError(`${node.op} has no gradient`);
    const first = node.inputs[0];
    const earlier = absorbs && first ? gradients.get(first.id) : undefined;
    const before = earlier?.dtype === first?.dtype ? (earlier ?? null) : null;
    const inputGradients = rule(g, node, outputGradients, before);
    if (before && first && inputGradients[0]) gradients.delete(first.id);
    node.inputs.forEach((input, index) => {
      const gradient = inputGradients[index];
      if (input && gradient && needed.has(input.id)) contribute(input, gradient);
    });
  }
  return wrt.map((value) => gradients.get(value.id) ?? null);
}
