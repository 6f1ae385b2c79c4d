import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { GalvatronError } from "../base/errors.js";

/**
 * ONNX Runtime's library as the npm package `onnxruntime-node` ships it. The package's JavaScript is never loaded.
 * @throws GalvatronError DEVICE_UNAVAILABLE
 */
export function onnxRuntimePath(): string {
  const folder = packageFolder();
  const path = join(folder, "bin", "napi-v6", process.platform, process.arch, "libonnxruntime.so.1");
  if (!existsSync(path)) {
    throw new GalvatronError(
      "DEVICE_UNAVAILABLE",
      `ONNX Runtime for ${process.platform}-${process.arch} is not in the package onnxruntime-node: there is no ${path}.`,
      { path },
    );
  }
  return path;
}

function packageFolder(): string {
  try {
    return dirname(createRequire(__filename).resolve("onnxruntime-node/package.json"));
  } catch (error) {
    throw new GalvatronError(
      "DEVICE_UNAVAILABLE",
      "The package onnxruntime-node is not installed. Install the dependencies again (`npm ci`).",
      {},
      { cause: error },
    );
  }
}
