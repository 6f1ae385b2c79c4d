import type { Dtype } from "../base/units.js";
import { CUSTOM_OP_DOMAIN, isComposite } from "./composite-ops.js";
import type { GraphBuilder } from "./graph-builder.js";
import { type Attributes, elementCount, type GraphNode, type Value } from "./ir.js";
import {
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxNode,
  type OnnxPort,
  type OnnxTensor,
  onnxDataType,
  writeOnnx,
} from "./onnx-writer.js";
import { batchFirstPerm } from "./ops/matmul-ops.js";
import { flagAttribute, GraphError, numberAttribute, numbersAttribute } from "./ops/op-definition.js";

/** A value at the border of an emitted graph, under the name it has there. */
export type NamedValue = readonly [name: string, value: Value];

const MICROSOFT = "com.microsoft";
const OPSETS: readonly (readonly [domain: string, version: number])[] = [
  ["", 21],
  [MICROSOFT, 1],
  [CUSTOM_OP_DOMAIN, 1],
];

/** Attributes of composite ops that are floats also where their value is whole. */
const FLOAT_ATTRIBUTES: ReadonlySet<string> = new Set(["epsilon", "scale", "alpha"]);

function customAttributes(attributes: Attributes): readonly OnnxAttribute[] {
  return Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]): OnnxAttribute => {
      if (typeof value === "string") return { name, string: value };
      if (typeof value === "boolean") return { name, int: value ? 1 : 0 };
      if (typeof value !== "number") return { name, ints: value };
      return FLOAT_ATTRIBUTES.has(name) ? { name, float: value } : { name, int: value };
    });
}

/** Collects the ONNX nodes of one graph. */
class Emission {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  private readonly names = new Map<number, string>();
  private readonly integers = new Map<string, string>();
  private counter = 0;

  bind(value: Value, name: string): void {
    this.names.set(value.id, name);
  }

  isBound(value: Value): boolean {
    return this.names.has(value.id);
  }

  fresh(): string {
    return `v${this.counter++}`;
  }

  nameOf(value: Value | null): string {
    if (!value) return "";
    const name = this.names.get(value.id);
    if (name === undefined) throw new GraphError(`${value.node?.op ?? "an input"} is read before it is made`);
    return name;
  }

  emit(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: readonly OnnxAttribute[] = [],
    domain = "",
  ): void {
    this.nodes.push({ op, domain, inputs, outputs, attributes });
  }

  /** Name of a constant of whole numbers that an op takes as an input. */
  integerInput(values: readonly number[]): string {
    const key = values.join();
    let name = this.integers.get(key);
    if (name === undefined) {
      name = this.fresh();
      this.integers.set(key, name);
      this.initializers.push({ name, dtype: "int64", shape: [values.length], values });
    }
    return name;
  }
}

/** Which outputs of a node anybody reads, in emission order of names; unread ones have no name. */
function outputNames(emission: Emission, node: GraphNode, used: ReadonlySet<number>): readonly string[] {
  const names = node.outputs.map((output) => {
    if (!used.has(output.id)) return "";
    if (!emission.isBound(output)) emission.bind(output, emission.fresh());
    return emission.nameOf(output);
  });
  while (names.length > 0 && names[names.length - 1] === "") names.pop();
  return names;
}

function emitMatMul(emission: Emission, node: GraphNode, output: string): void {
  const flags = ["transA", "transB", "transBatchA", "transBatchB"] as const;
  const alpha = numberAttribute(node.attributes, "alpha");
  const plain = alpha === 1 && flags.every((flag) => !flagAttribute(node.attributes, flag));
  const [a, b] = [node.inputs[0]!, node.inputs[1]!];
  const names = [emission.nameOf(a), emission.nameOf(b)];
  if (plain) {
    emission.emit("MatMul", names, [output]);
    return;
  }
  if (a.dtype === "float32") {
    const attributes = flags.map((name) => ({ name, int: flagAttribute(node.attributes, name) ? 1 : 0 }));
    emission.emit(
      "FusedMatMul",
      names,
      [output],
      [{ name: "alpha", float: alpha }, ...attributes],
      MICROSOFT,
    );
    return;
  }
  // ONNX Runtime's CPU has FusedMatMul in float32 only.
  const operands = [a, b].map((value, side) => {
    const letter = side === 0 ? "A" : "B";
    const rank = value.shape.length;
    let perm = Array.from({ length: rank }, (_, axis) => axis);
    if (flagAttribute(node.attributes, `transBatch${letter}`)) perm = [...batchFirstPerm(rank)];
    if (flagAttribute(node.attributes, `trans${letter}`)) {
      perm = [...perm.slice(0, -2), perm[rank - 1]!, perm[rank - 2]!];
    }
    if (perm.every((axis, i) => axis === i)) return names[side]!;
    const turned = emission.fresh();
    emission.emit("Transpose", [names[side]!], [turned], [{ name: "perm", ints: perm }]);
    return turned;
  });
  if (alpha === 1) {
    emission.emit("MatMul", operands, [output]);
    return;
  }
  const [product, factor] = [emission.fresh(), emission.fresh()];
  emission.initializers.push({ name: factor, dtype: a.dtype, shape: [], values: [alpha] });
  emission.emit("MatMul", operands, [product]);
  emission.emit("Mul", [product, factor], [output]);
}

function emitPad(emission: Emission, node: GraphNode, output: string): void {
  const x = node.inputs[0]!;
  const axis = numberAttribute(node.attributes, "axis");
  const pads = new Array<number>(2 * x.shape.length).fill(0);
  pads[axis] = numberAttribute(node.attributes, "before");
  pads[x.shape.length + axis] = numberAttribute(node.attributes, "after");
  emission.emit("Pad", [emission.nameOf(x), emission.integerInput(pads)], [output]);
}

/** Elements up to which a constant of one value is written out. */
const WRITTEN_OUT = 64;

function emitConstant(emission: Emission, node: GraphNode, output: string): void {
  const dtype = node.attributes.dtype as Dtype;
  const shape = numbersAttribute(node.attributes, "shape");
  const values = numbersAttribute(node.attributes, "values");
  if (values.length > 1 || elementCount(shape) <= WRITTEN_OUT) {
    emission.initializers.push({ name: output, dtype, shape, values });
    return;
  }
  // ONNX Runtime expands float32, but no bfloat16.
  const wide = dtype === "bfloat16" ? "float32" : dtype;
  const [scalar, expanded] = [emission.fresh(), wide === dtype ? output : emission.fresh()];
  emission.initializers.push({ name: scalar, dtype: wide, shape: [], values });
  emission.emit("Expand", [scalar, emission.integerInput(shape)], [expanded]);
  if (wide !== dtype) emission.emit("Cast", [expanded], [output], [{ name: "to", int: onnxDataType(dtype) }]);
}

function emitStandard(emission: Emission, node: GraphNode, outputs: readonly string[]): void {
  const { attributes } = node;
  const inputs = node.inputs.map((input) => emission.nameOf(input));
  const integer = (name: string): number => numberAttribute(attributes, name);
  const axis = (): OnnxAttribute => ({ name: "axis", int: integer("axis") });
  const keepdims = (): OnnxAttribute => ({
    name: "keepdims",
    int: flagAttribute(attributes, "keepdims") ? 1 : 0,
  });
  switch (node.op) {
    case "Constant":
      emitConstant(emission, node, outputs[0]!);
      break;
    case "Cast":
      emission.emit("Cast", inputs, outputs, [{ name: "to", int: onnxDataType(attributes.to as Dtype) }]);
      break;
    case "Reshape":
    case "Expand":
      emission.emit(
        node.op,
        [...inputs, emission.integerInput(numbersAttribute(attributes, "shape"))],
        outputs,
      );
      break;
    case "Transpose":
      emission.emit("Transpose", inputs, outputs, [
        { name: "perm", ints: numbersAttribute(attributes, "perm") },
      ]);
      break;
    case "Slice": {
      const bounds = [integer("start"), integer("end"), integer("axis")];
      emission.emit("Slice", [...inputs, ...bounds.map((n) => emission.integerInput([n]))], outputs);
      break;
    }
    case "Pad":
      emitPad(emission, node, outputs[0]!);
      break;
    case "ReduceSum":
    case "ReduceMean":
    case "ReduceMax":
      emission.emit(
        node.op,
        [...inputs, emission.integerInput(numbersAttribute(attributes, "axes"))],
        outputs,
        [keepdims()],
      );
      break;
    case "MatMul":
      emitMatMul(emission, node, outputs[0]!);
      break;
    case "Gemm":
      emission.emit("Gemm", inputs, outputs, [
        { name: "transA", int: flagAttribute(attributes, "transA") ? 1 : 0 },
        { name: "transB", int: flagAttribute(attributes, "transB") ? 1 : 0 },
      ]);
      break;
    case "Softmax":
      emission.emit("Softmax", inputs, outputs, [{ name: "axis", int: -1 }]);
      break;
    case "Concat":
    case "GatherElements":
      emission.emit(node.op, inputs, outputs, [axis()]);
      break;
    case "Gather":
      emission.emit("Gather", inputs, outputs, [{ name: "axis", int: 0 }]);
      break;
    case "ScatterElements":
      emission.emit("ScatterElements", inputs, outputs, [axis(), { name: "reduction", string: "add" }]);
      break;
    case "ScatterND":
      emission.emit("ScatterND", inputs, outputs, [{ name: "reduction", string: "add" }]);
      break;
    case "StandardGelu":
      emission.emit("Gelu", inputs, outputs, [
        { name: "approximate", string: String(attributes.approximate) },
      ]);
      break;
    default:
      emission.emit(node.op, inputs, outputs);
      break;
  }
}

/**
 * Writes the nodes of `g` that `outputs` need as ONNX bytes. The builder must hold what can be emitted only: no
 * collectives, and composite ops only as custom nodes.
 *
 * @param inputs bound by the caller at run time, in this order; one that no node needs is left out
 */
export function emitOnnx(
  g: GraphBuilder,
  name: string,
  inputs: readonly NamedValue[],
  outputs: readonly NamedValue[],
): Uint8Array {
  const used = new Set(outputs.map(([, value]) => value.id));
  const live: GraphNode[] = [];
  for (let i = g.nodes.length - 1; i >= 0; i--) {
    const node = g.nodes[i]!;
    if (!node.outputs.some((output) => used.has(output.id))) continue;
    live.push(node);
    for (const input of node.inputs) if (input) used.add(input.id);
  }
  live.reverse();
  const emission = new Emission();
  for (const [port, value] of inputs) emission.bind(value, port);
  const copies: NamedValue[] = [];
  for (const [port, value] of outputs) {
    if (emission.isBound(value) || !value.node || value.node.op === "Constant") copies.push([port, value]);
    else emission.bind(value, port);
  }
  for (const node of live) {
    const names = outputNames(emission, node, used);
    if (isComposite(node.op)) {
      const inputNames = node.inputs.map((input) => emission.nameOf(input));
      const { narrow, ...attributes } = node.attributes;
      const op = narrow === true ? `${node.op}Narrow` : node.op;
      emission.emit(op, inputNames, names, customAttributes(attributes), CUSTOM_OP_DOMAIN);
    } else {
      emitStandard(emission, node, names);
    }
  }
  for (const [port, value] of copies) emission.emit("Identity", [emission.nameOf(value)], [port]);
  const domains = new Set(emission.nodes.map((node) => node.domain));
  const ports = (values: readonly NamedValue[]): readonly OnnxPort[] =>
    values.map(([port, value]) => ({ name: port, dtype: value.dtype, shape: value.shape }));
  const graph: OnnxGraph = {
    name,
    nodes: emission.nodes,
    initializers: emission.initializers,
    inputs: ports(inputs),
    outputs: ports(outputs),
    opsets: OPSETS.flatMap(([domain, version]) =>
      domain === "" || domains.has(domain) ? [{ domain, version }] : [],
    ),
  };
  return writeOnnx(graph);
}
