import { isComposite } from "./composite-ops.js";
import { emitOnnx, type NamedValue } from "./emit-onnx.js";
import { GraphBuilder } from "./graph-builder.js";
import type { CompositeOp, GraphNode, Value } from "./ir.js";
import { OP_DEFINITIONS } from "./op-definitions.js";
import { GraphError } from "./ops/op-definition.js";

/** How a graph becomes ONNX. */
export interface Lowering {
  /**
   * Composite ops stay nodes of the domain "galvatron" (a device with kernels for them), else they are spelled out.
   * A list keeps those it names.
   */
  readonly customOps: boolean | readonly CompositeOp[];
}

/** Ops that move bfloat16 values as they are: nothing to round. */
const MOVES: ReadonlySet<string> = new Set(["Reshape", "Transpose", "Slice", "Concat", "Identity"]);

/**
 * Replays nodes into a fresh builder that holds only what ONNX knows.
 *
 * Without bfloat16 products (the host), a node computes in float32 and each of its bfloat16 outputs is rounded once:
 * the values at op borders are those of a device that rounds there, the sums inside are float32.
 */
class Replay {
  readonly target = new GraphBuilder();
  private readonly values = new Map<number, Value>();
  /** The device computes in bfloat16 itself. */
  private readonly hasBfloat16: boolean;
  private readonly keeps: (op: CompositeOp) => boolean;

  constructor(lowering: Lowering) {
    const { customOps } = lowering;
    this.hasBfloat16 = customOps === true;
    this.keeps = (op) => (typeof customOps === "boolean" ? customOps : customOps.includes(op));
  }

  input(value: Value): Value {
    const port = this.target.input(value.dtype, value.shape);
    this.values.set(value.id, port);
    return port;
  }

  valueOf(value: Value): Value {
    const known = this.values.get(value.id);
    if (!known) throw new GraphError(`${value.node?.op ?? "an input"} is read before it is made`);
    return known;
  }

  node(node: GraphNode): void {
    const inputs = node.inputs.map((input) => (input ? this.valueOf(input) : null));
    const outputs = this.outputsOf(node, inputs);
    node.outputs.forEach((output, i) => {
      this.values.set(output.id, outputs[i]!);
    });
  }

  private outputsOf(node: GraphNode, inputs: readonly (Value | null)[]): readonly Value[] {
    if (node.op === "CopyToGroup") return [inputs[0]!];
    const rounded = [...inputs, ...node.outputs].some((value) => value?.dtype === "bfloat16");
    if (this.hasBfloat16 || !rounded || MOVES.has(node.op)) return this.compute(node, inputs);
    if (node.op === "Cast" || node.op === "Constant") return this.compute(node, inputs);
    const wide = inputs.map((input) =>
      input?.dtype === "bfloat16" ? this.target.cast(input, "float32") : input,
    );
    const computed = this.compute(node, wide);
    return node.outputs.map((output, i) => this.target.cast(computed[i]!, output.dtype));
  }

  private compute(node: GraphNode, inputs: readonly (Value | null)[]): readonly Value[] {
    const { decompose, alwaysDecomposed } = OP_DEFINITIONS[node.op];
    if (!isComposite(node.op) || (this.keeps(node.op) && !alwaysDecomposed))
      return this.target.node(node.op, inputs, node.attributes);
    if (!decompose) throw new GraphError(`${node.op} has no decomposition`);
    return decompose(this.target, inputs, node.attributes);
  }
}

/** ONNX bytes of the graph that makes `outputs` from `inputs` with these nodes, which stand in order. */
export function lowerToOnnx(
  name: string,
  nodes: readonly GraphNode[],
  inputs: readonly NamedValue[],
  outputs: readonly NamedValue[],
  lowering: Lowering,
): Uint8Array {
  const replay = new Replay(lowering);
  const ports = inputs.map(([port, value]): NamedValue => [port, replay.input(value)]);
  for (const node of nodes) replay.node(node);
  return emitOnnx(
    replay.target,
    name,
    ports,
    outputs.map(([port, value]): NamedValue => [port, replay.valueOf(value)]),
  );
}
