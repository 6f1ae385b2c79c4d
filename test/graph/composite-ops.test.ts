import { describe, expect, it } from "vitest";
import { fillNormal } from "../../src/base/random.js";
import { differentiate } from "../../src/graph/differentiate.js";
import type { NamedValue } from "../../src/graph/emit-onnx.js";
import { GraphBuilder } from "../../src/graph/graph-builder.js";
import type { Attributes, CompositeOp, Value } from "../../src/graph/ir.js";
import { lowerToOnnx } from "../../src/graph/lower.js";
import { OP_DEFINITIONS } from "../../src/graph/op-definitions.js";
import { type Content, runOnnx } from "./run-onnx.js";
import { elements, relativeDifference } from "./simulate-layer.js";

interface Case {
  readonly op: CompositeOp;
  readonly shapes: readonly (readonly number[])[];
  readonly attributes?: Attributes;
  readonly integers?: Readonly<Record<number, readonly number[]>>;
}

const attention = { scale: 0.4, causal: true, keep: "probabilities" };
const CASES: readonly (readonly [string, Case])[] = [
  ["linear", { op: "Linear", shapes: [[5, 3, 4], [6, 4], [6]] }],
  ["linear with a residual", { op: "Linear", shapes: [[5, 3, 4], [6, 4], [6], [5, 3, 6]] }],
  ["layer norm", { op: "LayerNormalization", shapes: [[5, 3, 6], [6], [6]], attributes: { epsilon: 1e-5 } }],
  ["RMS norm", { op: "RmsNormalization", shapes: [[5, 3, 6], [6]], attributes: { epsilon: 1e-5 } }],
  ["tanh GELU", { op: "Gelu", shapes: [[7, 9]], attributes: { approximate: "tanh" } }],
  [
    "product with tanh GELU",
    {
      op: "LinearGelu",
      shapes: [[5, 4], [6, 4], [6]],
      attributes: { approximate: "tanh" },
    },
  ],
  [
    "SwiGLU",
    {
      op: "SwiGlu",
      shapes: [
        [4, 5],
        [4, 5],
      ],
    },
  ],
  [
    "rotary",
    {
      op: "Rotary",
      shapes: [
        [4, 2, 3, 6],
        [4, 3],
        [4, 3],
      ],
      attributes: { inverse: false },
    },
  ],
  [
    "causal attention",
    {
      op: "Attention",
      shapes: [
        [4, 2, 2, 3],
        [4, 2, 2, 3],
        [4, 2, 2, 3],
      ],
      attributes: attention,
    },
  ],
  [
    "grouped attention with more keys than queries",
    {
      op: "Attention",
      shapes: [
        [3, 2, 4, 3],
        [5, 2, 2, 3],
        [5, 2, 2, 3],
      ],
      attributes: attention,
    },
  ],
  [
    "attention with a bias for each window, statistics kept",
    {
      op: "Attention",
      shapes: [
        [3, 4, 2, 3],
        [3, 4, 2, 3],
        [3, 4, 2, 3],
        [2, 2, 3, 3],
      ],
      attributes: { scale: 0.4, causal: false, keep: "logSumExp" },
    },
  ],
  [
    "embedding of indices inside and outside",
    {
      op: "Embedding",
      shapes: [
        [6, 3],
        [2, 4],
      ],
      integers: { 1: [0, 5, -1, 2, 6, 2, 2, 0] },
      attributes: { checked: true },
    },
  ],
  [
    "embedding in a long table",
    {
      op: "Embedding",
      shapes: [
        [600, 3],
        [2, 4],
      ],
      integers: { 1: [0, 599, 7, 7, 7, 2, 2, 0] },
      attributes: { checked: false },
    },
  ],
];

/** Gradients of sum(first output · random) with the op as one node, or with its decomposition differentiated. */
async function gradientsOf(test: Case, decomposed: boolean): Promise<readonly Content[]> {
  const g = new GraphBuilder();
  const inputs = test.shapes.map((shape, i) => g.input(test.integers?.[i] ? "int64" : "float64", shape));
  const attributes = test.attributes ?? {};
  const outputs = decomposed
    ? OP_DEFINITIONS[test.op].decompose!(g, inputs, attributes)
    : g.node(test.op, inputs, attributes);
  const seed = g.input("float64", outputs[0]!.shape);
  // The tables of rotary are constants: no gradient flows into them.
  const wrt = inputs.filter((value, i) => value.dtype === "float64" && (test.op !== "Rotary" || i === 0));
  const gradients = differentiate(g, [[outputs[0]!, seed]], wrt);
  const ports: NamedValue[] = [...inputs, seed].map((value, i): NamedValue => [`in${i}`, value]);
  const results: NamedValue[] = [outputs[0]!, ...gradients].map(
    (value, i): NamedValue => [`out${i}`, value!],
  );
  const bytes = lowerToOnnx("test", g.nodes, ports, results, { customOps: false });
  const port = ([name, { dtype, shape }]: NamedValue) => ({ name, dtype, shape });
  const content = ({ dtype, shape }: Value, i: number): Content => ({
    dtype,
    shape,
    data: test.integers?.[i] ?? fillNormal(17, `${i}`, 0, elements(shape), 1),
  });
  return runOnnx(
    bytes,
    ports.map((named, i) => [port(named), content(named[1], i)]),
    results.map(port),
  );
}

describe("hand-written gradients are those of the decomposition", () => {
  it.each(CASES)("%s", async (_, test) => {
    const [expected, actual] = [await gradientsOf(test, true), await gradientsOf(test, false)];
    expect(expected.length).toBeGreaterThan(1);
    expected.forEach((content, i) => {
      expect(elements(content.shape)).toBeGreaterThan(0);
      expect(Math.max(...Array.from(content.data, Math.abs))).toBeGreaterThan(0.01);
      expect(relativeDifference(actual[i]!, content), `output ${i}`).toBeLessThan(1e-12);
    });
  });
});

/** x + down(gelu(up(norm(x)))), twice, fused where the builder can (`addProduct`), or of single ops. */
async function streamGradients(norm: "layer" | "rms", fused: boolean) {
  const g = new GraphBuilder();
  const shapes = [[5, 2, 6], [6], [6], [8, 6], [8], [6, 8], [6]];
  const inputs = shapes.map((shape) => g.input("float64", shape));
  const [x, scale, shift, up, upBias, down, downBias] = inputs as [
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
  ];
  const apply = (op: CompositeOp, values: readonly Value[], attributes: Attributes = {}): Value =>
    fused ? g.one(op, values, attributes) : OP_DEFINITIONS[op].decompose!(g, values, attributes)[0]!;
  const linear = (value: Value, weight: Value, bias: Value): Value =>
    fused ? g.linear(value, weight, bias) : apply("Linear", [value, weight, bias]);
  const block = (value: Value): Value => {
    const normed =
      norm === "layer"
        ? apply("LayerNormalization", [value, scale, shift], { epsilon: 1e-5 })
        : apply("RmsNormalization", [value, scale], { epsilon: 1e-5 });
    const before = linear(normed, up, upBias);
    const inner = fused ? g.gelu(before, "tanh") : apply("Gelu", [before], { approximate: "tanh" });
    const product = linear(inner, down, downBias);
    return fused ? g.addProduct(value, product) : g.add(value, product);
  };
  const y = block(block(x));
  const seed = g.input("float64", y.shape);
  const wrt = norm === "layer" ? inputs : inputs.filter((value) => value !== shift);
  const gradients = differentiate(g, [[y, seed]], wrt);
  const ports = [...inputs, seed].map((value, i): NamedValue => [`in${i}`, value]);
  const results = [y, ...gradients].map((value, i): NamedValue => [`out${i}`, value!]);
  const port = ([name, { dtype, shape }]: NamedValue) => ({ name, dtype, shape });
  const data = (named: NamedValue, i: number): Content => ({
    ...named[1],
    data: fillNormal(29, `${i}`, 0, elements(named[1].shape), 1),
  });
  return {
    ops: g.nodes.map(({ op, inputs: of }) => `${op} ${of.length}`),
    values: await runOnnx(
      lowerToOnnx("stream", g.nodes, ports, results, { customOps: false }),
      ports.map((named, i) => [port(named), data(named, i)]),
      results.map(port),
    ),
  };
}

describe("a residual stream", () => {
  it.each(["layer", "rms"] as const)("has the gradients of its single ops with a %s norm", async (norm) => {
    const [expected, actual] = [await streamGradients(norm, false), await streamGradients(norm, true)];
    actual.values.forEach((content, i) => {
      expect(relativeDifference(content, expected.values[i]!), `output ${i}`).toBeLessThan(1e-12);
    });
    // Sums live in the products and in the norms' gradients; GELU and the inner bias's gradient in the products.
    const counted = (op: string): number => actual.ops.filter((name) => name === op).length;
    expect(counted("Linear 4")).toBe(2);
    expect(counted(norm === "layer" ? "LayerNormalizationGradient 6" : "RmsNormalizationGradient 5")).toBe(2);
    expect(counted("LinearGelu 3")).toBe(2);
    expect(counted("LinearInputGeluGradient 3")).toBe(2);
    expect(counted("ColumnSum 1")).toBe(2);
  });
});
