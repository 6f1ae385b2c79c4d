import { GalvatronError } from "../../base/errors.js";
import type { Program } from "../../program/program.js";
import { type Batch, readBatch } from "../data/batch.js";
import { openSamples, type SampleReader } from "../data/sample-reader.js";
import { hyperValues } from "../optimizer.js";
import type { Feed } from "../wire.js";

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
  const { globalBatch, microBatches } = plan;
  const writes: { tensor: number; bytes: Uint8Array }[] = [];
  for (let microBatch = 0; microBatch < microBatches; microBatch++) {
    // Tokens and labels of one place are the same samples: read once.
    const known = new Map<string, Promise<Batch>>();
    for (const key of Object.keys(io.inputs).sort()) {
      const { value, firstSample, samples, tensorIndex } = io.inputPlaces[key]!;
      const tensor = io.inputs[key]![microBatch]!;
      const count = tensors[tensor]!.shape[0]!;
      // A tensor of fewer rows than the sequence is cut over the tensor group.
      const first = count === feed.dataset.sequence ? 0 : tensorIndex * count;
      const place = `${firstSample} ${samples} ${first} ${count}`;
      const part = { step, globalBatch, microBatches, microBatch, firstSample, samples };
      const batch = known.get(place) ?? readBatch(reader, part, { first, count });
      known.set(place, batch);
      writes.push({ tensor, bytes: bytesOf(valuesOf(await batch, value)) });
    }
  }
  return writes;
}

function valuesOf(batch: Batch, value: string): BigInt64Array {
  if (value === "tokens") return batch.tokens;
  if (value === "labels") return batch.labels;
  throw new GalvatronError("DATA_INVALID", `The model reads "${value}"; this data gives tokens and labels.`, {
    value,
  });
}

function bytesOf(values: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
