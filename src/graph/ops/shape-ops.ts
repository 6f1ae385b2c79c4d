import type { Dtype } from "../../base/units.js";
import { elementCount, type StandardOp } from "../ir.js";
import {
  GraphError,
  numberAttribute,
  numbersAttribute,
  type OpDefinition,
  required,
} from "./op-definition.js";

type ShapeOp = Extract<
  StandardOp,
  "Constant" | "Reshape" | "Transpose" | "Slice" | "Pad" | "Concat" | "Expand"
>;

/** Constants and what only moves data. All shapes are static, so all extents are attributes. */
export const SHAPE_OPS: Readonly<Record<ShapeOp, OpDefinition>> = {
  /** `values` in row-major order; one value stands for all elements alike. */
  Constant: {
    infer: (_inputs, attributes) => {
      const shape = numbersAttribute(attributes, "shape");
      const values = numbersAttribute(attributes, "values");
      if (values.length !== 1 && values.length !== elementCount(shape)) {
        throw new GraphError(`Constant [${shape}]: got ${values.length} values`);
      }
      return [{ dtype: attributes.dtype as Dtype, shape }];
    },
    movesOnly: true,
  },
  Reshape: {
    infer: ([x], attributes) => {
      const shape = numbersAttribute(attributes, "shape");
      if (elementCount(shape) !== elementCount(x!.shape)) {
        throw new GraphError(`Reshape: [${x!.shape}] has not as many elements as [${shape}]`);
      }
      return [{ dtype: x!.dtype, shape }];
    },
    gradient: (g, node, [dy]) => [dy ? g.reshape(dy, node.inputs[0]!.shape) : null],
    movesOnly: true,
  },
  Transpose: {
    infer: ([x], attributes) => {
      const perm = numbersAttribute(attributes, "perm");
      if ([...perm].sort((a, b) => a - b).some((axis, i) => axis !== i) || perm.length !== x!.shape.length) {
        throw new GraphError(`Transpose: [${perm}] does not order the axes of [${x!.shape}]`);
      }
      return [{ dtype: x!.dtype, shape: perm.map((axis) => x!.shape[axis]!) }];
    },
    gradient: (g, node, [dy]) => {
      const perm = numbersAttribute(node.attributes, "perm");
      return [
        dy
          ? g.transpose(
              dy,
              perm.map((_, axis) => perm.indexOf(axis)),
            )
          : null,
      ];
    },
    movesOnly: true,
  },
  Slice: {
    infer: ([x], attributes) => {
      const axis = numberAttribute(attributes, "axis");
      const [start, end] = [numberAttribute(attributes, "start"), numberAttribute(attributes, "end")];
      if (!(start >= 0 && start < end && end <= (x!.shape[axis] ?? 0))) {
        throw new GraphError(`Slice: ${start}..${end} does not lie in axis ${axis} of [${x!.shape}]`);
      }
      return [{ dtype: x!.dtype, shape: x!.shape.map((extent, i) => (i === axis ? end - start : extent)) }];
    },
    gradient: (g, node, [dy]) => {
      if (!dy) return [null];
      const axis = numberAttribute(node.attributes, "axis");
      const extent = node.inputs[0]!.shape[axis]!;
      const start = numberAttribute(node.attributes, "start");
      return [g.pad(dy, axis, start, extent - numberAttribute(node.attributes, "end"))];
    },
    movesOnly: true,
  },
  /** Zeros before and after along one axis. */
  Pad: {
    infer: ([x], attributes) => {
      const axis = numberAttribute(attributes, "axis");
      const added = numberAttribute(attributes, "before") + numberAttribute(attributes, "after");
      return [
        { dtype: x!.dtype, shape: x!.shape.map((extent, i) => (i === axis ? extent + added : extent)) },
      ];
    },
    gradient: (g, node, [dy]) => {
      if (!dy) return [null];
      const axis = numberAttribute(node.attributes, "axis");
      const before = numberAttribute(node.attributes, "before");
      return [g.slice(dy, axis, before, before + node.inputs[0]!.shape[axis]!)];
    },
    movesOnly: true,
  },
  Concat: {
    infer: (inputs, attributes) => {
      const axis = numberAttribute(attributes, "axis");
      const first = required(inputs, 0);
      let total = 0;
      for (const input of inputs) {
        if (
          input!.dtype !== first.dtype ||
          input!.shape.some((extent, i) => i !== axis && extent !== first.shape[i])
        ) {
          throw new GraphError(`Concat: [${input!.shape}] does not continue [${first.shape}] along ${axis}`);
        }
        total += input!.shape[axis]!;
      }
      return [{ dtype: first.dtype, shape: first.shape.map((extent, i) => (i === axis ? total : extent)) }];
    },
    gradient: (g, node, [dy]) => {
      const axis = numberAttribute(node.attributes, "axis");
      let start = 0;
      return node.inputs.map((input) => {
        const extent = input!.shape[axis]!;
        start += extent;
        return dy ? g.slice(dy, axis, start - extent, start) : null;
      });
    },
    movesOnly: true,
  },
  Expand: {
    infer: ([x], attributes) => [{ dtype: x!.dtype, shape: numbersAttribute(attributes, "shape") }],
    gradient: (g, node, [dy]) => {
      if (!dy) return [null];
      const shape = node.inputs[0]!.shape;
      const axes = shape.flatMap((extent, axis) => (extent === 1 && dy.shape[axis] !== 1 ? [axis] : []));
      return [axes.length > 0 ? g.reduceSum(dy, axes, true) : dy];
    },
    movesOnly: true,
  },
};
