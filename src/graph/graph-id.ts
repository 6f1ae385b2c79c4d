import { createHash } from "node:crypto";

/** Name of a graph by content: SHA-256 of its ONNX bytes, in hexadecimal. */
export function graphId(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
