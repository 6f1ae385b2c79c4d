import { describe, expect, it } from "vitest";
import { fillNormal } from "../../src/base/random.js";
import type { Dtype } from "../../src/base/units.js";
import { differentiate } from "../../src/graph/differentiate.js";
import type { NamedValue } from "../../src/graph/emit-onnx.js";
import { GraphBuilder } from "../../src/graph/graph-builder.js";
import type { Value } from "../../src/graph/ir.js";
import { lowerToOnnx } from "../../src/graph/lower.js";
import { type Content, runOnnx } from "./run-onnx.js";
import { elements, relativeDifference } from "./simulate-layer.js";

const SHAPES = [[6, 2, 8], [8], [8], [16, 8], [16]];

/** norm, projection, GELU and a residual path, with gradients; bfloat16 inside, float32 ports (as JavaScript has them). */
async function run(dtype: Dtype): Promise<readonly Content[]> {
  const g = new GraphBuilder();
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
  });
});
