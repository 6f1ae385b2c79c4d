import type { GraphBuilder } from "../graph-builder.js";
import { elementCount, type GraphNode, type StandardOp, type Value } from "../ir.js";
import { unbroadcast } from "./elementwise-ops.js";
import { flagAttribute, GraphError, numberAttribute, type OpDefinition, required } from "./op-definition.js";

type MatMulOp = Extract<StandardOp, "MatMul" | "Gemm">;

/** Axes of `[rows, batch…, columns]` as `[batch…, rows, columns]`: what `transBatch` means (com.microsoft FusedMatMul). */
export function batchFirstPerm(rank: number): readonly number[] {
  return [...Array.from({ length: rank - 2 }, (_, i) => i + 1), 0, rank - 1];
}

function inversePerm(perm: readonly number[]): readonly number[] {
  return perm.map((_, axis) => perm.indexOf(axis));
}

/** Shape after `transBatch` and `trans`. */
function operandShape(x: Value, transBatch: boolean, trans: boolean): readonly number[] {
  const shape = transBatch ? batchFirstPerm(x.shape.length).map((axis) => x.shape[axis]!) : [...x.shape];
  if (!trans) return shape;
  const rank = shape.length;
  return [...shape.slice(0, rank - 2), shape[rank - 1]!, shape[rank - 2]!];
}

function matMulShape(node: Pick<GraphNode, "inputs" | "attributes">): readonly number[] {
  const [a, b] = [required(node.inputs, 0), required(node.inputs, 1)];
  if (a.dtype !== b.dtype) throw new GraphError(`MatMul: ${a.dtype} and ${b.dtype} differ`);
  const flag = (name: string): boolean => flagAttribute(node.attributes, name);
  const left = operandShape(a, flag("transBatchA"), flag("transA"));
  const right = operandShape(b, flag("transBatchB"), flag("transB"));
  const inner = left[left.length - 1];
  const batch = left.slice(0, -2);
  const fits = right.length === 2 || right.slice(0, -2).every((extent, axis) => extent === batch[axis]);
  if (inner !== right[right.length - 2] || !fits || (right.length !== 2 && right.length !== left.length)) {
    throw new GraphError(`MatMul: [${left}] does not multiply [${right}]`);
  }
  return [...batch, left[left.length - 2]!, right[right.length - 1]!];
}

/** `x` as its operand stands in the product: batch first, not transposed. */
function batchFirst(g: GraphBuilder, x: Value, transBatch: boolean): Value {
  return transBatch ? g.transpose(x, batchFirstPerm(x.shape.length)) : x;
}

export const MATMUL_OPS: Readonly<Record<MatMulOp, OpDefinition>> = {
  /** alpha · op(A) · op(B); equal batch axes, or B with two axes. */
  MatMul: {
    infer: (inputs, attributes) => [
      { dtype: required(inputs, 0).dtype, shape: matMulShape({ inputs, attributes }) },
    ],
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null];
      const flag = (name: string): boolean => flagAttribute(node.attributes, name);
      const alpha = numberAttribute(node.attributes, "alpha");
      const [a, b] = [required(node.inputs, 0), required(node.inputs, 1)];
      const left = batchFirst(g, a, flag("transBatchA"));
      const right = batchFirst(g, b, flag("transBatchB"));
      const [transA, transB] = [flag("transA"), flag("transB")];
      let da = transA
        ? g.matMul(right, dy, { transA: transB, transB: true, alpha })
        : g.matMul(dy, right, { transB: !transB, alpha });
      let db = transB
        ? g.matMul(dy, left, { transA: true, transB: transA, alpha })
        : g.matMul(left, dy, { transA: !transA, alpha });
      db = unbroadcast(g, db, right.shape);
      if (flag("transBatchA")) da = g.transpose(da, inversePerm(batchFirstPerm(a.shape.length)));
      if (flag("transBatchB")) db = g.transpose(db, inversePerm(batchFirstPerm(b.shape.length)));
      return [da, db];
    },
    flops: (node) => {
      const a = required(node.inputs, 0);
      const left = operandShape(
        a,
        flagAttribute(node.attributes, "transBatchA"),
        flagAttribute(node.attributes, "transA"),
      );
      return 2 * elementCount(node.outputs[0]!.shape) * left[left.length - 1]!;
    },
  },
  /** op(A) · op(B) + C of matrices; C is absent or broadcasts. */
  Gemm: {
    infer: (inputs, attributes) => {
      const [a, b] = [required(inputs, 0), required(inputs, 1)];
      if (a.shape.length !== 2 || b.shape.length !== 2) {
        throw new GraphError(`Gemm: [${a.shape}] and [${b.shape}] are not both matrices`);
      }
      return [{ dtype: a.dtype, shape: matMulShape({ inputs, attributes }) }];
    },
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null, null];
      const [a, b] = [required(node.inputs, 0), required(node.inputs, 1)];
      const c = node.inputs[2] ?? null;
      const [transA, transB] = [
        flagAttribute(node.attributes, "transA"),
        flagAttribute(node.attributes, "transB"),
      ];
      return [
        transA
          ? g.gemm(b, dy, null, { transA: transB, transB: true })
          : g.gemm(dy, b, null, { transB: !transB }),
        transB
          ? g.gemm(dy, a, null, { transA: true, transB: transA })
          : g.gemm(a, dy, null, { transA: !transA }),
        c ? unbroadcast(g, dy, c.shape) : null,
      ];
    },
    flops: (node) => {
      const a = required(node.inputs, 0);
      const inner = flagAttribute(node.attributes, "transA") ? a.shape[0]! : a.shape[1]!;
      return 2 * elementCount(node.outputs[0]!.shape) * inner;
    },
  },
};
