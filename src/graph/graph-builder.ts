import type { Dtype } from "../base/units.js";
import type { Attributes, GraphNode, OpName, Value, ValueType } from "./ir.js";
import { elementCount, sameShape, unshaped } from "./ir.js";
import { OP_DEFINITIONS } from "./op-definitions.js";
import { GraphError } from "./ops/op-definition.js";

export interface MatMulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** The operand is `[rows, batch…, columns]`. */
  readonly transBatchA?: boolean;
  readonly transBatchB?: boolean;
  readonly alpha?: number;
}

/**
 * Makes a graph node by node; types and shapes are inferred, and checked, as nodes are added.
 *
 * Equal nodes are made once (common subexpressions), and nodes stand in an order in which they can run. What nobody
 * reads in the end is left out at emission.
 */
export class GraphBuilder {
  readonly nodes: GraphNode[] = [];
  /** Attributes of nodes that make gradients of parameters: these are of the compute type where it says `narrow`. */
  readonly narrow: Attributes;
  private readonly byKey = new Map<string, GraphNode>();
  private nextValue = 0;

  constructor(narrowGradients = false) {
    this.narrow = narrowGradients ? { narrow: true } : {};
  }

  input(dtype: Dtype, shape: readonly number[]): Value {
    return { id: this.nextValue++, node: null, output: 0, dtype, shape };
  }

  node(op: OpName, inputs: readonly (Value | null)[], attributes: Attributes = {}): readonly Value[] {
    const key = `${op}(${inputs.map((input) => input?.id ?? "")})${JSON.stringify(attributes)}`;
    const known = this.byKey.get(key);
    if (known) return known.outputs;
    const outputs: Value[] = [];
    const node: GraphNode = { id: this.nodes.length, op, inputs, outputs, attributes };
    for (const type of this.typesOf(op, inputs, attributes)) {
      outputs.push({ id: this.nextValue++, node, output: outputs.length, ...type });
    }
    this.nodes.push(node);
    this.byKey.set(key, node);
    return outputs;
  }

  /** The first output of {@link node}. */
  one(op: OpName, inputs: readonly (Value | null)[], attributes: Attributes = {}): Value {
    return this.node(op, inputs, attributes)[0]!;
  }

  private typesOf(
    op: OpName,
    inputs: readonly (Value | null)[],
    attributes: Attributes,
  ): readonly ValueType[] {
    try {
      return OP_DEFINITIONS[op].infer(inputs, attributes);
    } catch (error) {
      if (!(error instanceof GraphError)) throw error;
      const types = inputs.map((input) => (input ? `${input.dtype}[${input.shape}]` : "nothing"));
      throw new GraphError(`${op}(${types.join(", ")}): ${error.message}`);
    }
  }

  /** @param values row-major, or one value for all elements */
  constant(values: readonly number[], dtype: Dtype, shape: readonly number[]): Value {
    return this.one("Constant", [], { values, dtype, shape });
  }

  scalar(value: number, dtype: Dtype): Value {
    return this.constant([value], dtype, []);
  }

  add(a: Value, b: Value): Value {
    return this.one("Add", [a, b]);
  }
  sub(a: Value, b: Value): Value {
    return this.one("Sub", [a, b]);
  }
  mul(a: Value, b: Value): Value {
    return this.one("Mul", [a, b]);
  }
  div(a: Value, b: Value): Value {
    return this.one("Div", [a, b]);
  }
  neg(x: Value): Value {
    return this.one("Neg", [x]);
  }
  exp(x: Value): Value {
    return this.one("Exp", [x]);
  }
  log(x: Value): Value {
    return this.one("Log", [x]);
  }
  sqrt(x: Value): Value {
    return this.one("Sqrt", [x]);
  }
  reciprocal(x: Value): Value {
    return this.one("Reciprocal", [x]);
  }
  tanh(x: Value): Value {
    return this.one("Tanh", [x]);
  }
  sigmoid(x: Value): Value {
    return this.one("Sigmoid", [x]);
  }
  erf(x: Value): Value {
    return this.one("Erf", [x]);
  }
  cos(x: Value): Value {
    return this.one("Cos", [x]);
  }
  sin(x: Value): Value {
    return this.one("Sin", [x]);
  }
  relu(x: Value): Value {
    return this.one("Relu", [x]);
  }
  less(a: Value, b: Value): Value {
    return this.one("Less", [a, b]);
  }
  greaterOrEqual(a: Value, b: Value): Value {
    return this.one("GreaterOrEqual", [a, b]);
  }
  equal(a: Value, b: Value): Value {
    return this.one("Equal", [a, b]);
  }
  and(a: Value, b: Value): Value {
    return this.one("And", [a, b]);
  }
  bitwiseAnd(a: Value, b: Value): Value {
    return this.one("BitwiseAnd", [a, b]);
  }
  where(condition: Value, a: Value, b: Value): Value {
    return this.one("Where", [condition, a, b]);
  }
  cast(x: Value, to: Dtype): Value {
    return x.dtype === to ? x : this.one("Cast", [x], { to });
  }
  identity(x: Value): Value {
    return this.one("Identity", [x]);
  }

  reshape(x: Value, shape: readonly number[]): Value {
    if (sameShape(x.shape, shape)) return x;
    const source = x.node?.op === "Reshape" ? x.node.inputs[0]! : x;
    if (sameShape(source.shape, shape)) return source;
    return this.one("Reshape", [source], { shape });
  }
  transpose(x: Value, perm: readonly number[]): Value {
    return perm.every((axis, i) => axis === i) ? x : this.one("Transpose", [x], { perm });
  }
  slice(x: Value, axis: number, start: number, end: number): Value {
    return start === 0 && end === x.shape[axis] ? x : this.one("Slice", [x], { axis, start, end });
  }
  pad(x: Value, axis: number, before: number, after: number): Value {
    return before === 0 && after === 0 ? x : this.one("Pad", [x], { axis, before, after });
  }
  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 ? values[0]! : this.one("Concat", values, { axis });
  }
  expand(x: Value, shape: readonly number[]): Value {
    return sameShape(x.shape, shape) ? x : this.one("Expand", [x], { shape });
  }

  reduceSum(x: Value, axes: readonly number[], keepdims: boolean): Value {
    return this.one("ReduceSum", [x], { axes, keepdims });
  }
  reduceMean(x: Value, axes: readonly number[], keepdims: boolean): Value {
    return this.one("ReduceMean", [x], { axes, keepdims });
  }
  reduceMax(x: Value, axes: readonly number[], keepdims: boolean): Value {
    return this.one("ReduceMax", [x], { axes, keepdims });
  }
  softmax(x: Value): Value {
    return this.one("Softmax", [x]);
  }

  matMul(a: Value, b: Value, options: MatMulOptions = {}): Value {
    const { transA = false, transB = false, transBatchA = false, transBatchB = false, alpha = 1 } = options;
    return this.one("MatMul", [a, b], { transA, transB, transBatchA, transBatchB, alpha });
  }
  gemm(a: Value, b: Value, c: Value | null, options: Pick<MatMulOptions, "transA" | "transB">): Value {
    const { transA = false, transB = false } = options;
    return this.one("Gemm", c ? [a, b, c] : [a, b], { transA, transB });
  }

  gather(x: Value, indices: Value): Value {
    return this.one("Gather", [x, indices]);
  }
  gatherElements(x: Value, indices: Value, axis: number): Value {
    return this.one("GatherElements", [x, indices], { axis });
  }
  scatterElements(x: Value, indices: Value, updates: Value, axis: number): Value {
    return this.one("ScatterElements", [x, indices, updates], { axis });
  }
  scatterND(x: Value, indices: Value, updates: Value): Value {
    return this.one("ScatterND", [x, indices, updates]);
  }

  allGather(x: Value, degree: number): Value {
    return degree === 1 ? x : this.one("AllGather", [x], { degree });
  }
  reduceScatter(x: Value, degree: number): Value {
    return degree === 1 ? x : this.one("ReduceScatter", [x], { degree });
  }
  allReduce(x: Value, degree: number, reduction: "sum" | "max"): Value {
    return degree === 1 ? x : this.one("AllReduce", [x], { degree, reduction });
  }
  allToAll(x: Value, degree: number): Value {
    return degree === 1 ? x : this.one("AllToAll", [x], { degree });
  }
  copyToGroup(x: Value, degree: number): Value {
    return degree === 1 ? x : this.one("CopyToGroup", [x], { degree });
  }

  /**
   * x · weightᵀ + bias over the last axis. The product itself is of matrices, so that what is saved of it needs no
   * copy into another shape.
   */
  linear(x: Value, weight: Value, bias: Value | null): Value {
    const width = x.shape[x.shape.length - 1]!;
    const rows = this.reshape(x, [elementCount(x.shape) / width, width]);
    const product = this.one("Linear", bias ? [rows, weight, bias] : [rows, weight]);
    return this.reshape(product, [...x.shape.slice(0, -1), weight.shape[0]!]);
  }
  /** x + product: a product of {@link linear} that nobody else reads takes x as its addend, one pass over memory less. */
  addProduct(x: Value, product: Value): Value {
    const source = unshaped(product);
    const [rows, weight, bias = null, addend] = source.node?.op === "Linear" ? source.node.inputs : [];
    if (!rows || !weight || addend || x.dtype !== product.dtype || !sameShape(x.shape, product.shape))
      return this.add(x, product);
    const leading = x.shape.slice(0, -1);
    return this.one("Linear", [this.reshape(rows, [...leading, weight.shape[1]!]), weight, bias, x]);
  }
  layerNormalization(x: Value, scale: Value, shift: Value, epsilon: number): Value {
    return this.one("LayerNormalization", [x, scale, shift], { epsilon });
  }
  rmsNormalization(x: Value, scale: Value, epsilon: number): Value {
    return this.one("RmsNormalization", [x, scale], { epsilon });
  }
  /** GELU; a product of {@link linear} with a bias that nobody else reads makes it on its way. */
  gelu(x: Value, approximate: "tanh" | "none"): Value {
    const { node } = unshaped(x);
    const [rows, weight, bias, addend] = node?.op === "Linear" ? node.inputs : [];
    if (!rows || !weight || !bias || addend) return this.one("Gelu", [x], { approximate });
    return this.reshape(this.one("LinearGelu", [rows, weight, bias], { approximate }), x.shape);
  }
  /** x · sigmoid(x), times `up`. */
  swiGlu(gate: Value, up: Value): Value {
    return this.one("SwiGlu", [gate, up]);
  }
  /** @param cosine tables `[S, d/2]` of the angles of positions and pairs */
  rotary(x: Value, cosine: Value, sine: Value): Value {
    return this.one("Rotary", [x, cosine, sine], { inverse: false });
  }
  /** Rows of a table. */
  embedding(table: Value, indices: Value, checked: boolean): Value {
    return this.one("Embedding", [table, indices], { checked });
  }
  /** Fills a tensor of `like`'s type. */
  filled(value: number, like: ValueType): Value {
    return this.constant([value], like.dtype, like.shape);
  }
  elementCount(x: Value): number {
    return elementCount(x.shape);
  }
}
