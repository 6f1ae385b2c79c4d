import { InferenceSession, Tensor } from "onnxruntime-node";
import type { GraphPort } from "../../src/graph/graph-ref.js";

/** A tensor's content in tests; whole numbers for int64. */
export interface Content {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

const sessions = new Map<Uint8Array, Promise<InferenceSession>>();

function toTensor(content: Content): Tensor {
  const { dtype, data, shape } = content;
  if (dtype === "float32") return new Tensor("float32", Float32Array.from(data), shape);
  if (dtype === "float64") return new Tensor("float64", Float64Array.from(data), shape);
  if (dtype === "int64") return new Tensor("int64", BigInt64Array.from(Array.from(data, BigInt)), shape);
  throw new TypeError(`no ${dtype} here`);
}

/** Runs an ONNX graph on the CPU through onnxruntime-node's own session. */
export async function runOnnx(
  bytes: Uint8Array,
  inputs: readonly (readonly [port: GraphPort, content: Content])[],
  outputs: readonly GraphPort[],
): Promise<readonly Content[]> {
  let session = sessions.get(bytes);
  if (!session) {
    // ONNX Runtime fuses x · sigmoid(x) in float64 too, but has no kernel for it there.
    const isDouble = inputs.some(([port]) => port.dtype === "float64");
    const graphOptimizationLevel = isDouble ? "basic" : "all";
    session = InferenceSession.create(bytes, {
      logSeverityLevel: 3,
      intraOpNumThreads: 1,
      graphOptimizationLevel,
    });
    sessions.set(bytes, session);
  }
  const feeds: Record<string, Tensor> = {};
  for (const [port, content] of inputs) feeds[port.name] = toTensor(content);
  const results = await (await session).run(feeds);
  return outputs.map((port) => {
    const tensor = results[port.name];
    if (!tensor) throw new Error(`no output ${port.name}`);
    const data = tensor.data as ArrayLike<number | bigint>;
    return { dtype: port.dtype, shape: tensor.dims, data: Float64Array.from(Array.from(data, Number)) };
  });
}
