import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Content } from "./run-onnx.js";

interface Packed {
  readonly shape: readonly number[];
  readonly float32: string;
}

/** Reads a file that `test/python` made. */
export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(join(__dirname, "../golden/graph", name), "utf8")) as T;
}

export function unpack(packed: Packed): Content {
  const bytes = Uint8Array.from(Buffer.from(packed.float32, "base64"));
  return { dtype: "float32", shape: packed.shape, data: new Float32Array(bytes.buffer) };
}

/** PyTorch's outputs and gradients of some layers. */
export interface GoldenLayers {
  readonly model: Readonly<Record<string, number | boolean>>;
  readonly samples: number;
  readonly lossTokens: number;
  readonly layers: Readonly<Record<string, Readonly<Record<string, Packed>>>>;
}
