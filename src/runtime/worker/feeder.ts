import { GalvatronError } from "../../base/errors.js";
import type { Program } from "../../program/program.js";
import { firstSampleOf } from "../batch-ramp.js";
import { layOut, readExamples } from "../data/batch.js";
import type { Dataset } from "../data/dataset.js";
import { dropoutKeys } from "../data/dropout-keys.js";
import { type Example, type ExampleReader, openExamples } from "../data/example-reader.js";
import { valueShapes } from "../data/objectives/objective.js";
import { hyperValues, KEEP_EVERYTHING } from "../optimizer.js";
import type { Feed } from "../wire.js";

/** Bytes to write into tensors before a step. */
export interface StepInputs {
  readonly learningRate: number;
  readonly writes: readonly { readonly tensor: number; readonly bytes: Uint8Array }[];
}

/** Makes the inputs of steps: this rank's samples and the optimizer's scalars. */
export interface Feeder {
  prepare(step: number): Promise<StepInputs>;
  /** Inputs of a step over held-out samples `[batch · globalBatch, …)` that leaves parameters and moments as they are. */
  prepareEvaluation(batch: number): Promise<StepInputs>;
  close(): void;
}

/** @param seed - of the run: dropout's */
export function openFeeder(program: Program, feed: Feed, seed: number): Feeder {
  const { evaluation } = feed;
  const training = openBatches(program, feed.dataset);
  const own = evaluation && evaluation.dataset !== feed.dataset;
  const evaluated = own ? openBatches(program, evaluation.dataset) : training;
  const { globalBatch } = program.plan;
  const phases = feed.phases ?? [{ globalBatch, firstStep: 0, firstSample: 0 }];
  const inputs = async (
    hyper: Float32Array,
    firstPlace: number,
    batches: Batches,
    heldOut: boolean,
  ): Promise<StepInputs> => {
    const writes = [
      ...dropoutWrites(program, seed, firstPlace, !heldOut),
      ...(await batches.writes(firstPlace, heldOut)),
    ];
    const { hyper: tensor } = program.io;
    return {
      learningRate: hyper[0]!,
      writes: tensor < 0 ? writes : [{ tensor, bytes: bytesOf(hyper) }, ...writes],
    };
  };
  return {
    prepare: (step) =>
      inputs(hyperValues(feed.optimizer, step, feed.steps), firstSampleOf(phases, step), training, false),
    prepareEvaluation: (batch) => inputs(KEEP_EVERYTHING, batch * globalBatch, evaluated, true),
    close: () => {
      training.close();
      if (own) evaluated.close();
    },
  };
}

/** The keys by which dropout draws its masks, see `dropoutKeys`. */
function dropoutWrites(
  program: Program,
  seed: number,
  firstPlace: number,
  active: boolean,
): StepInputs["writes"] {
  const { plan, io } = program;
  const perMicroBatch = plan.globalBatch / plan.microBatches;
  return Object.entries(io.inputs).flatMap(([key, tensors]) => {
    const { value, firstSample, samples } = io.inputPlaces[key]!;
    if (value !== "dropout") return [];
    return tensors.map((tensor, microBatch) => {
      const first = firstPlace + microBatch * perMicroBatch + firstSample;
      return { tensor, bytes: bytesOf(dropoutKeys(seed, first, samples, active)) };
    });
  });
}

/** This rank's parts of batches. */
interface Batches {
  /** @param firstPlace - of the step's first sample in the training order, or among the held-out samples */
  writes(firstPlace: number, heldOut: boolean): Promise<StepInputs["writes"]>;
  close(): void;
}

function openBatches(program: Program, dataset: Dataset): Batches {
  const { plan, io } = program;
  const { globalBatch, microBatches } = plan;
  const keys = Object.keys(io.inputs)
    .filter((key) => io.inputPlaces[key]!.value !== "dropout")
    .sort();
  // Ranks that hold neither embedding nor head read no data at all.
  const reader: ExampleReader | null = keys.length > 0 ? openExamples(dataset) : null;
  const shapes = valueShapes(dataset.objective);
  const wanted = new Set(keys.map((key) => io.inputPlaces[key]!.value));
  for (const value of wanted)
    if (!shapes[value])
      throw new GalvatronError(
        "DATA_INVALID",
        `The model reads "${value}"; this data gives ${Object.keys(shapes).join(" and ")}.`,
        { value },
      );
  return {
    writes: async (firstPlace, heldOut) => {
      if (!reader) return [];
      const writes: { tensor: number; bytes: Uint8Array }[] = [];
      for (let microBatch = 0; microBatch < microBatches; microBatch++) {
        // Tokens and labels of one place are the same samples: read once.
        const known = new Map<string, readonly (Example | null)[]>();
        for (const key of keys) {
          const { value, firstSample, samples } = io.inputPlaces[key]!;
          const place = `${firstSample} ${samples}`;
          const part = { firstPlace, globalBatch, microBatches, microBatch, firstSample, samples };
          const examples = known.get(place) ?? (await readExamples(reader, part, wanted, heldOut));
          known.set(place, examples);
          const tensor = io.inputs[key]![microBatch]!;
          writes.push({ tensor, bytes: bytesOf(layOut(examples, value, shapes[value]!)) });
        }
      }
      return writes;
    },
    close: () => reader?.close(),
  };
}

function bytesOf(values: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
