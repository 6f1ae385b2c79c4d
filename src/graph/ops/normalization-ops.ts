import type { GraphBuilder } from "../graph-builder.js";
import {
  type Attributes,
  type CompositeOp,
  elementCount,
  type GraphNode,
  type Value,
  type ValueType,
} from "../ir.js";
import { asMatrix } from "./linear-ops.js";
import {
  GraphError,
  numberAttribute,
  type OpDefinition,
  parameterGradientDtype,
  required,
  wideDtype,
} from "./op-definition.js";

type NormalizationOp = Extract<
  CompositeOp,
  "LayerNormalization" | "LayerNormalizationGradient" | "RmsNormalization" | "RmsNormalizationGradient"
>;

function statisticsType(x: Value): ValueType {
  return { dtype: wideDtype(x.dtype), shape: [...x.shape.slice(0, -1), 1] };
}

function parameterType(x: Value, attributes: Attributes): ValueType {
  return { dtype: parameterGradientDtype(x.dtype, attributes), shape: x.shape.slice(-1) };
}

function checkScale(inputs: readonly (Value | null)[]): Value {
  const [x, scale] = [required(inputs, 0), required(inputs, 1)];
  if (scale.shape.length !== 1 || scale.shape[0] !== x.shape[x.shape.length - 1] || scale.dtype !== x.dtype) {
    throw new GraphError(`normalization: ${x.dtype}[${x.shape}] and scale ${scale.dtype}[${scale.shape}]`);
  }
  return x;
}

const optional = (value: Value | null): readonly Value[] => (value ? [value] : []);
const plus = (g: GraphBuilder, x: Value, addend: Value | null | undefined): Value =>
  addend ? g.add(x, addend) : x;

const flops =
  (perElement: number) =>
  (node: GraphNode): number =>
    perElement * elementCount(node.inputs[0]!.shape);

/** Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019) over the last axis. */
export const NORMALIZATION_OPS: Readonly<Record<NormalizationOp, OpDefinition>> = {
  LayerNormalization: {
    infer: (inputs) => {
      const x = checkScale(inputs);
      return [{ dtype: x.dtype, shape: x.shape }, statisticsType(x), statisticsType(x)];
    },
    absorbs: true,
    gradient: (g, node, [dy], before) => {
      if (!dy) return [null, null, null];
      const [x, scale] = node.inputs;
      const [, mean, inverseDeviation] = node.outputs;
      const inputs = [dy, x!, scale!, mean!, inverseDeviation!, ...optional(before)];
      return g.node("LayerNormalizationGradient", inputs, g.narrow);
    },
    decompose: (g, inputs, attributes) => {
      // Seven passes: ONNX Runtime's own LayerNormalization takes three times as long on the CPU (1.29, AVX-512).
      const epsilon = numberAttribute(attributes, "epsilon");
      const x = required(inputs, 0);
      const last = [x.shape.length - 1];
      const mean = g.reduceMean(x, last, true);
      const centred = g.sub(x, mean);
      const variance = g.reduceMean(g.mul(centred, centred), last, true);
      const inverseDeviation = g.reciprocal(g.sqrt(g.add(variance, g.scalar(epsilon, x.dtype))));
      const normal = g.mul(centred, inverseDeviation);
      return [g.add(g.mul(normal, required(inputs, 1)), required(inputs, 2)), mean, inverseDeviation];
    },
    flops: flops(8),
  },
  LayerNormalizationGradient: {
    infer: (inputs, attributes) => {
      const x = required(inputs, 1);
      const parameter = parameterType(x, attributes);
      return [{ dtype: x.dtype, shape: x.shape }, parameter, parameter];
    },
    // With n = (x − mean) · r and d = dy · scale: dx = r · (d − mean(d) − n · mean(d · n)).
    decompose: (g, inputs) => {
      const [dy, x, scale] = [required(inputs, 0), required(inputs, 1), required(inputs, 2)];
      const [mean, inverseDeviation] = [required(inputs, 3), required(inputs, 4)];
      const last = [x.shape.length - 1];
      const normal = g.mul(g.sub(x, mean), inverseDeviation);
      const product = g.mul(dy, normal);
      const scaled = g.mul(dy, scale);
      const first = g.reduceMean(scaled, last, true);
      const second = g.reduceMean(g.mul(scaled, normal), last, true);
      const inner = g.sub(g.sub(scaled, first), g.mul(normal, second));
      return [
        plus(g, g.mul(inner, inverseDeviation), inputs[5]),
        g.reduceSum(asMatrix(g, product), [0], false),
        g.reduceSum(asMatrix(g, dy), [0], false),
      ];
    },
    flops: flops(14),
  },
  RmsNormalization: {
    infer: (inputs) => {
      const x = checkScale(inputs);
      return [{ dtype: x.dtype, shape: x.shape }, statisticsType(x)];
    },
    absorbs: true,
    gradient: (g, node, [dy], before) => {
      if (!dy) return [null, null];
      const [x, scale] = node.inputs;
      const inputs = [dy, x!, scale!, node.outputs[1]!, ...optional(before)];
      return g.node("RmsNormalizationGradient", inputs, g.narrow);
    },
    decompose: (g, inputs, attributes) => {
      const [x, scale] = [required(inputs, 0), required(inputs, 1)];
      const square = g.reduceMean(g.mul(x, x), [x.shape.length - 1], true);
      const epsilon = g.scalar(numberAttribute(attributes, "epsilon"), x.dtype);
      const inverseRms = g.reciprocal(g.sqrt(g.add(square, epsilon)));
      return [g.mul(g.mul(x, inverseRms), scale), inverseRms];
    },
    flops: flops(5),
  },
  RmsNormalizationGradient: {
    infer: (inputs, attributes) => {
      const x = required(inputs, 1);
      return [{ dtype: x.dtype, shape: x.shape }, parameterType(x, attributes)];
    },
    // With n = x · r and d = dy · scale: dx = r · (d − n · mean(d · n)).
    decompose: (g, inputs) => {
      const [dy, x] = [required(inputs, 0), required(inputs, 1)];
      const [scale, inverseRms] = [required(inputs, 2), required(inputs, 3)];
      const normal = g.mul(x, inverseRms);
      const product = g.mul(dy, normal);
      const second = g.reduceMean(g.mul(product, scale), [x.shape.length - 1], true);
      const inner = g.sub(g.mul(dy, scale), g.mul(normal, second));
      return [plus(g, g.mul(inner, inverseRms), inputs[4]), g.reduceSum(asMatrix(g, product), [0], false)];
    },
    flops: flops(10),
  },
};
