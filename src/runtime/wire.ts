import { z } from "zod";
import type { ErrorCode, ErrorContext } from "../base/errors.js";
import type { NativeProbe, WorkerOptions } from "../device/addon.js";
import type { Program } from "../program/program.js";
import type { BatchPhase } from "./batch-ramp.js";
import type { CheckpointFile } from "./checkpoint/manifest-json.js";
import type { ShardJob, WrittenShard } from "./checkpoint/write-shard.js";
import type { Dataset } from "./data/dataset.js";
import type { Optimizer } from "./optimizer.js";
import type { PlacedView, WeightsJob } from "./weights/weight-states.js";

/**
 * Messages between the coordinator and the process of one rank, over Node's IPC channel in structured-clone form
 * (typed arrays and graphs travel as bytes).
 */

/** What makes a loaded Program train: without it, steps run on whatever the tensors hold (the profiler's way). */
export interface Feed {
  readonly dataset: Dataset;
  readonly optimizer: Optimizer;
  /** Length of the whole training, which learning-rate schedules look at. */
  readonly steps: number;
  /** Sizes of the global batch, where it grows; absent: the Program's throughout. */
  readonly phases?: readonly BatchPhase[];
  /** When and on what to evaluate; absent: never. */
  readonly evaluation?: EvaluationFeed;
}

/** Evaluation on held-out samples, by the same Program, between training steps. */
export interface EvaluationFeed {
  /** Its held-out samples are read. */
  readonly dataset: Dataset;
  /** After every so many training steps, and after the last. */
  readonly every: number;
  readonly samples: number;
}

/** A checkpoint to load instead of fresh parameters. */
export interface Restore {
  readonly checkpoint: string;
  /** Files that this rank compares with their checksums; together the ranks compare all. */
  readonly verify: readonly CheckpointFile["name"][];
}

export type ToWorker =
  | { readonly kind: "open"; readonly id: number; readonly options: WorkerOptions }
  | {
      readonly kind: "load";
      readonly id: number;
      readonly program: Program;
      readonly graphs: Readonly<Record<string, Uint8Array>>;
      /** Seed of the parameters; null leaves every tensor zero. */
      readonly seed: number | null;
      /** Parameters may repeat values after a while: nothing is learnt. */
      readonly repeated: boolean;
      /** Where the states come from instead of the seed. */
      readonly restore: Restore | null;
      /** Where the parameters come from instead of the seed, with fresh moments. */
      readonly weights: readonly PlacedView[] | null;
      readonly feed: Feed | null;
      /** Number of the next step. */
      readonly firstStep: number;
      /** Bytes of the arena that stay: the states go on from the Program before. 0 loads them. */
      readonly keptBytes: number;
    }
  /** Leave to run all steps below `until`. Grants grow; the worker runs ahead as far as it is granted. */
  | { readonly kind: "advance"; readonly until: number }
  | { readonly kind: "read"; readonly id: number; readonly tensors: readonly number[] }
  | {
      readonly kind: "write";
      readonly id: number;
      readonly writes: readonly { readonly tensor: number; readonly bytes: Uint8Array }[];
    }
  /** Copies this rank's part of a checkpoint between two steps and goes on; "finishSave" tells when it is written. */
  | { readonly kind: "save"; readonly id: number; readonly shard: ShardJob }
  | { readonly kind: "finishSave"; readonly id: number }
  /** Writes this rank's part of exported weights between two steps. */
  | { readonly kind: "writeWeights"; readonly id: number; readonly job: WeightsJob }
  /** Evaluates what is loaded, as its feed says; no step is taken. */
  | { readonly kind: "evaluate"; readonly id: number }
  | { readonly kind: "describe"; readonly id: number }
  /** Let the step in flight fail and stop. */
  | { readonly kind: "abort"; readonly reason: string }
  | { readonly kind: "close"; readonly id: number };

/** Memory of a process as the operating system counts it. */
export interface ProcessMemory {
  readonly residentBytes: number;
  readonly peakBytes: number;
  /** Of the resident bytes, those in shared memory: transfer buffers between ranks. */
  readonly sharedBytes: number;
}

/** One rank's share of an evaluation; the shares of all ranks sum up. */
export interface EvaluationShare {
  /** Of the mean loss over the held-out labels. */
  readonly loss: number;
  /** Of the share of right answers; null where the model counts none. */
  readonly accuracy: number | null;
}

/** One step of one rank. */
export interface SteppedMessage {
  readonly kind: "stepped";
  readonly step: number;
  /** This rank's shares of the mean loss, by micro-batch; empty on ranks without a head. */
  readonly losses: Float32Array;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** The instruction list alone. */
  readonly stepMs: number;
  /** From the end of the step before (feeding and reporting included). */
  readonly wallMs: number;
  /** `[start0, end0, …]`, in ms from the start of the step. */
  readonly instructionsMs: Float64Array;
  /** Bytes that each instruction handed to other ranks; empty on CUDA. */
  readonly sentBytes: Float64Array;
  readonly arenaBytes: number;
  readonly onnxRuntimeBytes: number;
  /** `[run0, constants0, session0, run1, …]` of each graph, see `StepTimes`. */
  readonly graphBytes: Float64Array;
  readonly memory: ProcessMemory;
  /** Made after this step, where one was due. */
  readonly evaluation: EvaluationShare | null;
}

export type FromWorker =
  | { readonly kind: "opened"; readonly id: number; readonly pid: number; readonly memory: ProcessMemory }
  | { readonly kind: "loaded"; readonly id: number; readonly memory: ProcessMemory }
  | SteppedMessage
  | { readonly kind: "tensors"; readonly id: number; readonly tensors: readonly Uint8Array[] }
  | { readonly kind: "written"; readonly id: number }
  | { readonly kind: "evaluated"; readonly id: number; readonly share: EvaluationShare }
  | { readonly kind: "copied"; readonly id: number; readonly copyMs: number }
  | ({ readonly kind: "saved"; readonly id: number } & WrittenShard)
  | {
      readonly kind: "described";
      readonly id: number;
      /** JavaScript files that this process has loaded. */
      readonly modules: readonly string[];
      readonly probe: NativeProbe | null;
      readonly memory: ProcessMemory;
    }
  | { readonly kind: "closed"; readonly id: number }
  | {
      readonly kind: "failed";
      /** The request that failed; null for a step. */
      readonly id: number | null;
      readonly code: ErrorCode;
      readonly message: string;
      readonly context: ErrorContext;
    };

const id = z.int();
const bytes = z.instanceof(Uint8Array);
/** What training computed, which may have become NaN or infinite: the coordinator says so in words. */
const computed = z.custom<number>((value) => typeof value === "number");
const share = z.strictObject({ loss: computed, accuracy: z.number().nullable() });
const memory = z.strictObject({ residentBytes: z.number(), peakBytes: z.number(), sharedBytes: z.number() });

const toWorker = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("open"), id, options: z.custom<WorkerOptions>(isObject) }),
  z.strictObject({
    kind: z.literal("load"),
    id,
    // Made by lowerPlan and checked by verifyProgram before it comes here.
    program: z.custom<Program>(isObject),
    graphs: z.record(z.string(), bytes),
    seed: z.int().nullable(),
    repeated: z.boolean(),
    restore: z.strictObject({ checkpoint: z.string(), verify: z.array(z.string()) }).nullable(),
    weights: z.array(z.custom<PlacedView>(isObject)).nullable(),
    feed: z.custom<Feed>(isObject).nullable(),
    firstStep: z.int(),
    keptBytes: z.int(),
  }),
  z.strictObject({ kind: z.literal("advance"), until: z.int() }),
  z.strictObject({ kind: z.literal("read"), id, tensors: z.array(z.int()) }),
  z.strictObject({
    kind: z.literal("write"),
    id,
    writes: z.array(z.strictObject({ tensor: z.int(), bytes })),
  }),
  z.strictObject({ kind: z.literal("save"), id, shard: z.custom<ShardJob>(isObject) }),
  z.strictObject({ kind: z.literal("finishSave"), id }),
  z.strictObject({ kind: z.literal("writeWeights"), id, job: z.custom<WeightsJob>(isObject) }),
  z.strictObject({ kind: z.literal("evaluate"), id }),
  z.strictObject({ kind: z.literal("describe"), id }),
  z.strictObject({ kind: z.literal("abort"), reason: z.string() }),
  z.strictObject({ kind: z.literal("close"), id }),
]) satisfies z.ZodType<ToWorker>;

const fromWorker = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("opened"), id, pid: z.int(), memory }),
  z.strictObject({ kind: z.literal("loaded"), id, memory }),
  z.strictObject({
    kind: z.literal("stepped"),
    step: z.int(),
    losses: z.instanceof(Float32Array),
    gradientNorm: computed,
    learningRate: computed,
    stepMs: z.number(),
    wallMs: z.number(),
    instructionsMs: z.instanceof(Float64Array),
    sentBytes: z.instanceof(Float64Array),
    arenaBytes: z.number(),
    onnxRuntimeBytes: z.number(),
    graphBytes: z.instanceof(Float64Array),
    memory,
    evaluation: share.nullable(),
  }),
  z.strictObject({ kind: z.literal("tensors"), id, tensors: z.array(bytes) }),
  z.strictObject({ kind: z.literal("written"), id }),
  z.strictObject({ kind: z.literal("evaluated"), id, share }),
  z.strictObject({ kind: z.literal("copied"), id, copyMs: z.number() }),
  z.strictObject({
    kind: z.literal("saved"),
    id,
    sizeBytes: z.int(),
    sha256: z.string(),
    writeMs: z.number(),
  }),
  z.strictObject({
    kind: z.literal("described"),
    id,
    modules: z.array(z.string()),
    probe: z.custom<NativeProbe>(isObject).nullable(),
    memory,
  }),
  z.strictObject({ kind: z.literal("closed"), id }),
  z.strictObject({
    kind: z.literal("failed"),
    id: id.nullable(),
    code: z.custom<ErrorCode>((value) => typeof value === "string"),
    message: z.string(),
    context: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
]) satisfies z.ZodType<FromWorker>;

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

/** @throws {z.ZodError} on anything that is not a {@link ToWorker} */
export function parseToWorker(value: unknown): ToWorker {
  return toWorker.parse(value);
}

/** @throws {z.ZodError} on anything that is not a {@link FromWorker} */
export function parseFromWorker(value: unknown): FromWorker {
  return fromWorker.parse(value);
}
