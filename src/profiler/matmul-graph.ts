import { createHash } from "node:crypto";
import { emitOnnx } from "../graph/emit-onnx.js";
import { GraphBuilder } from "../graph/graph-builder.js";
import type { MatmulGraph } from "./measure-matmul.js";

/** `[m, k] × [k, n]` in float32. */
export function matmulGraph(m: number, k: number, n: number): MatmulGraph {
  const builder = new GraphBuilder();
  const a = builder.input("float32", [m, k]);
  const b = builder.input("float32", [k, n]);
  const bytes = emitOnnx(
    builder,
    "matmul",
    [
      ["a", a],
      ["b", b],
    ],
    [["c", builder.matMul(a, b)]],
  );
  return {
    ref: {
      id: createHash("sha256").update(bytes).digest("hex"),
      name: `matmul ${m}×${k}×${n}`,
      inputs: [
        { name: "a", dtype: "float32", shape: [m, k] },
        { name: "b", dtype: "float32", shape: [k, n] },
      ],
      outputs: [{ name: "c", dtype: "float32", shape: [m, n] }],
      flops: 2 * m * k * n,
    },
    bytes,
  };
}
