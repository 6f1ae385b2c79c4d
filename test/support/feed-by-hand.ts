import type { Program } from "../../src/program/program.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import type { Content } from "../graph/run-onnx.js";

/** Writes one step's loader data, `[rows, samples, …]` of the whole batch by name, into every rank's inputs. */
export async function feedByHand(
  pool: WorkerPool,
  programs: readonly Program[],
  batch: Readonly<Record<string, Content>>,
  samplesPerMicroBatch: number,
): Promise<void> {
  for (const { rank, io, tensors } of programs) {
    const writes = Object.entries(io.inputs).flatMap(([key, inputs]) => {
      const { value, firstSample, tensorIndex } = io.inputPlaces[key]!;
      const content = batch[value]!;
      return inputs.map((tensor, microBatch) => {
        const { shape, dtype } = tensors[tensor]!;
        const [rows, samples, width = 1] = shape as readonly [number, number, number?];
        const firstRow = rows === content.shape[0] ? 0 : tensorIndex * rows;
        const first = microBatch * samplesPerMicroBatch + firstSample;
        const values = Array.from({ length: rows * samples * width }, (_, i) => {
          const [row, column] = [Math.floor(i / (samples * width)), Math.floor(i / width) % samples];
          const source = ((firstRow + row) * content.shape[1]! + first + column) * width + (i % width);
          return Number(content.data[source]!);
        });
        const bytes =
          dtype === "int64"
            ? BigInt64Array.from(values, (value) => BigInt(value))
            : Float32Array.from(values);
        return { tensor, bytes: new Uint8Array(bytes.buffer) };
      });
    });
    await pool.write(rank, writes);
  }
}
