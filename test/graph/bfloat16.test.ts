import { describe, expect, it } from "vitest";
import { fillNormal } from "../../src/base/random.js";
import type { Dtype } from "../../src/base/units.js";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { smallModel } from "../../src/families/registry.js";
import { differentiate } from "../../src/graph/differentiate.js";
import type { NamedValue } from "../../src/graph/emit-onnx.js";
import { GraphBuilder } from "../../src/graph/graph-builder.js";
import type { Value } from "../../src/graph/ir.js";
import { lowerToOnnx } from "../../src/graph/lower.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { type Content, runOnnx } from "./run-onnx.js";
import { elements, relativeDifference } from "./simulate-layer.js";

const SHAPES = [[6, 2, 8], [8], [8], [16, 8], [16]];

/** norm, projection, GELU and a residual path, with gradients; bfloat16 inside, float32 ports (as JavaScript has them). */
async function run(dtype: Dtype, narrowGradients = false): Promise<readonly Content[]> {
  const g = new GraphBuilder(narrowGradients);
  const ports = SHAPES.map((shape) => g.input("float32", shape));
  // The inputs are rounded in every run, so that only the arithmetic differs.
  const [x, scale, shift, weight, bias] = ports.map((port) => g.cast(g.cast(port, "bfloat16"), dtype));
  const normed = g.layerNormalization(x!, scale!, shift!, 1e-5);
  const y = g.gelu(g.linear(normed, weight!, bias!), "tanh");
  const seed = g.filled(1, y);
  const gradients = differentiate(g, [[y, seed]], [x!, scale!, weight!, bias!]);
  const outputs = [y, ...gradients].map((value, i): NamedValue => [`out${i}`, g.cast(value!, "float32")]);
  const inputs = ports.map((port, i): NamedValue => [`in${i}`, port]);
  const bytes = lowerToOnnx("test", g.nodes, inputs, outputs, { customOps: false });
  const port = ([name, { shape }]: NamedValue) => ({ name, dtype: "float32" as const, shape });
  const content = ({ shape }: Value, i: number): Content => ({
    dtype: "float32",
    shape,
    data: fillNormal(23, `${i}`, 0, elements(shape), 1),
  });
  return runOnnx(
    bytes,
    inputs.map((named, i) => [port(named), content(named[1], i)]),
    outputs.map(port),
  );
}

describe("bfloat16 on the host", () => {
  it("rounds at op borders and keeps parameter gradients in float32", async () => {
    const [rounded, exact] = [await run("bfloat16"), await run("float32")];
    rounded.forEach((content, i) => {
      const difference = relativeDifference(content, exact[i]!);
      // A few roundings of 2^-9 each; never none at all.
      expect(difference).toBeLessThan(0.02);
      expect(difference).toBeGreaterThan(1e-5);
    });
    const isBfloat16 = (value: number): boolean =>
      (new Uint32Array(new Float32Array([value]).buffer)[0]! & 0xffff) === 0;
    expect(Array.from(rounded[0]!.data).every(isBfloat16)).toBe(true);
    expect(Array.from(rounded[1]!.data).every(isBfloat16)).toBe(true);
    expect(Array.from(rounded[3]!.data).every(isBfloat16)).toBe(false);
    // Asked for narrow ones, each is the wide one rounded once.
    const narrow = await run("bfloat16", true);
    for (const gradient of [2, 3, 4]) {
      expect(Array.from(narrow[gradient]!.data).every(isBfloat16)).toBe(true);
      expect(relativeDifference(narrow[gradient]!, rounded[gradient]!)).toBeLessThan(2 ** -8);
    }
  });

  it("names the ops of a device by the type of their gradients", () => {
    for (const precision of ["bfloat16", "bfloat16-gradients"] as const) {
      const model = smallModel("gpt");
      const graphs = layerGraphs(
        model,
        {
          kind: model.layers[0]!,
          strategy: uniformPlan(model, { ranks: 1, globalBatch: 1 }).layers[0]!,
          samples: 1,
          precision,
          lossTokens: 1,
        },
        { customOps: true },
      );
      const bytes = graphs.backward.flatMap((step) => (step.op === "run" ? [Buffer.from(step.bytes)] : []));
      const narrow = bytes.some((graph) => graph.includes("WeightGradientNarrow"));
      expect(narrow).toBe(precision === "bfloat16-gradients");
      const gradients = Object.values(graphs.values).filter(({ role }) => role === "parameterGradient");
      expect(new Set(gradients.map(({ dtype }) => dtype))).toEqual(
        new Set([narrow ? "bfloat16" : "float32"]),
      );
    }
  });
});
