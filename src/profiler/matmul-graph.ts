import { createHash } from "node:crypto";
import { emitOnnx } from "../graph/emit-onnx.js";
import { GraphBuilder } from "../graph/graph-builder.js";
import type { MatmulDtype, MatmulGraph } from "./measure-matmul.js";

/** `[m, k] × [k, n]`. */
export function matmulGraph(m: number, k: number, n: number, dtype: MatmulDtype = "float32"): MatmulGraph {
  const builder = new GraphBuilder();
  const a = builder.input(dtype, [m, k]);
  const b = builder.input(dtype, [k, n]);
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
        { name: "a", dtype, shape: [m, k] },
        { name: "b", dtype, shape: [k, n] },
      ],
      outputs: [{ name: "c", dtype, shape: [m, n] }],
      flops: 2 * m * k * n,
    },
    bytes,
  };
}
