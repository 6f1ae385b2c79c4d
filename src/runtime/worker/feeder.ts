import type { Program } from "../../program/program.js";
import { readBatch } from "../data/batch.js";
import { openSamples, type SampleReader } from "../data/sample-reader.js";
import { hyperValues } from "../optimizer.js";
import type { Feed } from "../wire.js";
import { dataPlace } from "./data-place.js";

/** Bytes to write into tensors before a step. */
export interface StepInputs {
  readonly step: number;
  readonly learningRate: number;
  readonly writes: readonly { readonly tensor: number; readonly bytes: Uint8Array }[];
}

/** Makes the inputs of steps: this rank's samples and the optimizer's scalars. */
export interface Feeder {
  prepare(step: number): Promise<StepInputs>;
  close(): Promise<void>;
}

export function openFeeder(program: Program, feed: Feed): Feeder {
  // Ranks that hold neither embedding nor head read no data at all.
  const reader: SampleReader | null =
    Object.keys(program.io.inputs).length > 0 ? openSamples(feed.dataset) : null;
  return {
    prepare: async (step) => {
      const writes: { tensor: number; bytes: Uint8Array }[] = [];
      const hyper = hyperValues(feed.optimizer, step, feed.steps);
      if (program.io.hyper >= 0) writes.push({ tensor: program.io.hyper, bytes: bytesOf(hyper) });
      if (reader) writes.push(...(await batchWrites(program, feed, reader, step)));
      return { step, learningRate: hyper[0]!, writes };
    },
    close: async () => reader?.close(),
  };
}

async function batchWrites(
  program: Program,
  feed: Feed,
  reader: SampleReader,
  step: number,
): Promise<StepInputs["writes"]> {
  const { plan, io, tensors } = program;
  const place = dataPlace(plan, program.rank);
  const writes: { tensor: number; bytes: Uint8Array }[] = [];
  const names = Object.keys(io.inputs).sort();
  for (let microBatch = 0; microBatch < plan.microBatches; microBatch++) {
    // Tokens and labels of one rank share rows when both are there (one-stage plans): read them once.
    const byRows = new Map<number, Awaited<ReturnType<typeof readBatch>>>();
    for (const name of names) {
      const tensor = io.inputs[name]![microBatch]!;
      const rowCount = tensors[tensor]!.shape[0]!;
      // A tensor that holds fewer rows than the sequence is cut over the tensor group.
      const first = rowCount === feed.dataset.sequence ? 0 : place.tensorRank * rowCount;
      let batch = byRows.get(rowCount);
      if (!batch) {
        batch = await readBatch(
          reader,
          {
            step,
            globalBatch: plan.globalBatch,
            microBatches: plan.microBatches,
            microBatch,
            dataRank: place.dataRank,
            dataDegree: plan.vocabulary.dataDegree,
          },
          { first, count: rowCount },
        );
        byRows.set(rowCount, batch);
      }
      const values = name === "labels" ? batch.labels : batch.tokens;
      writes.push({ tensor, bytes: bytesOf(values) });
    }
  }
  return writes;
}

function bytesOf(values: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
