import { type ErrorCode, GalvatronError, isGalvatronError } from "../../base/errors.js";
import { streamKey } from "../../base/random.js";
import type { NativeAddon, NativeWorker } from "../../device/addon.js";
import type { Program } from "../../program/program.js";
import { readManifest } from "../checkpoint/checkpoint-folder.js";
import { type StateSource, storedStates, verifyFile } from "../checkpoint/stored-states.js";
import { type ShardWriting, type WrittenShard, writeShard } from "../checkpoint/write-shard.js";
import { weightStates, writeWeights } from "../weights/weight-states.js";
import type {
  EvaluationFeed,
  EvaluationShare,
  FromWorker,
  ProcessMemory,
  Restore,
  ToWorker,
} from "../wire.js";
import { type Feeder, openFeeder, type StepInputs } from "./feeder.js";
import {
  constantWrites,
  drawnStates,
  type FillNormal,
  type InitialValueOptions,
  initialWrites,
  repeatedWrites,
} from "./initial-values.js";
import { processMemory } from "./process-memory.js";

/** One rank: answers the coordinator's messages in order, and runs steps as far as it is granted. */
export interface Rank {
  receive(message: ToWorker): void;
  /** The coordinator is gone: leave nothing behind. */
  orphaned(): void;
}

interface Loaded {
  readonly program: Program;
  readonly feeder: Feeder | null;
  readonly lastStep: number;
  /** Where the next Program takes over; the last step where none does. */
  readonly endStep: number;
  readonly evaluation: EvaluationFeed | null;
  nextStep: number;
  granted: number;
  /** Inputs of the next step, read while the step before computes. */
  prepared: Promise<StepInputs> | null;
  /** The next step where it has been asked for already, so that the device need not wait for JavaScript in between. */
  begun: Promise<StepOutcome> | null;
}

/** What a step left, as soon as it has ended. */
interface StepOutcome {
  readonly times: Awaited<ReturnType<NativeWorker["step"]>>;
  readonly shares: Awaited<ReturnType<typeof readShares>>;
  readonly clip: Float32Array | null;
  readonly learningRate: number;
}

export function openRank(addon: NativeAddon, send: (message: FromWorker) => void): Rank {
  let worker: NativeWorker | null = null;
  let loaded: Loaded | null = null;
  let sharedName: string | null = null;
  let fill: FillNormal | undefined;
  let initial: InitialValueOptions = {};
  let aborted: string | null = null;
  let saving: ShardWriting | null = null;
  // Requests and steps run one after another; abort alone jumps the queue.
  let queue: Promise<void> = Promise.resolve();

  const enqueue = (id: number | null, work: () => Promise<void>): void => {
    queue = queue.then(work).catch((error: unknown) => send(failure(id, error)));
  };

  const handle = async (
    message: Exclude<ToWorker, { kind: "advance" | "abort" | "finishSave" }>,
  ): Promise<void> => {
    switch (message.kind) {
      case "open":
        sharedName = message.options.sharedName;
        worker = addon.openWorker(message.options);
        if (message.options.device === "cuda") {
          fill = nativeFill(addon);
          initial = { round: addon.roundBfloat16, cleared: true };
        }
        send({ kind: "opened", id: message.id, pid: process.pid, memory: processMemory() });
        return;
      case "load": {
        const native = opened(worker);
        loaded?.feeder?.close();
        loaded = null;
        await native.load(message.program, message.graphs, message.keptBytes);
        const { program, seed, keptBytes } = message;
        const fresh = keptBytes === 0 && !message.restore && !message.weights;
        if (fresh && message.repeated && fill && seed !== null) {
          for (const write of repeatedWrites(program, seed, fill, initial))
            await native.writeRepeated(write.tensor, write.from, write.until, write.bytes);
          for (const write of constantWrites(program)) await native.write(write.tensor, write.bytes);
        } else {
          const source = message.restore
            ? await checkpointSource(message.restore)
            : message.weights
              ? weightStates(message.weights)
              : seed === null
                ? null
                : drawnStates(program, seed, fill);
          const options = message.restore ? { ...initial, cleared: false } : initial;
          const writes = keptBytes > 0 ? constantWrites(program) : initialWrites(program, source, options);
          for await (const write of writes) await native.write(write.tensor, write.bytes);
        }
        loaded = {
          program: withoutList(message.program),
          feeder: message.feed
            ? openFeeder(withoutList(message.program), message.feed, message.seed ?? 0)
            : null,
          lastStep: message.feed?.steps ?? Number.POSITIVE_INFINITY,
          endStep: endStepOf(message),
          evaluation: message.feed?.evaluation ?? null,
          nextStep: message.firstStep,
          granted: message.firstStep,
          prepared: null,
          begun: null,
        };
        const { id } = message;
        // The list itself lives in the addon now: what loading needed goes, once nothing here holds the message any more
        // and before the first step is asked for.
        collect(COLLECTIONS, () => {
          addon.trimHeap();
          send({ kind: "loaded", id, memory: processMemory() });
        });
        return;
      }
      case "read": {
        const native = opened(worker);
        const tensors: Uint8Array[] = [];
        for (const tensor of message.tensors) tensors.push(await native.read(tensor));
        send({ kind: "tensors", id: message.id, tensors });
        return;
      }
      case "write": {
        const native = opened(worker);
        for (const write of message.writes) await native.write(write.tensor, write.bytes);
        send({ kind: "written", id: message.id });
        return;
      }
      case "save": {
        const native = opened(worker);
        saving = writeShard((tensor) => native.read(tensor), message.shard);
        send({ kind: "copied", id: message.id, copyMs: await saving.copied });
        return;
      }
      case "writeWeights": {
        const native = opened(worker);
        await writeWeights((tensor) => native.read(tensor), message.job);
        send({ kind: "written", id: message.id });
        return;
      }
      case "evaluate": {
        const native = opened(worker);
        if (!loaded?.evaluation)
          throw new GalvatronError(
            "PROGRAM_INVALID",
            "Nothing is loaded to evaluate; load a feed for it first.",
          );
        send({ kind: "evaluated", id: message.id, share: await evaluate(native, loaded) });
        return;
      }
      case "describe":
        send({
          kind: "described",
          id: message.id,
          modules: Object.keys(require.cache),
          probe: null,
          memory: processMemory(),
        });
        return;
      case "close":
        loaded?.feeder?.close();
        await worker?.close();
        send({ kind: "closed", id: message.id });
        return;
    }
  };

  return {
    receive: (message) => {
      if (message.kind === "abort") {
        aborted = message.reason;
        worker?.abort(message.reason);
      } else if (message.kind === "advance") {
        enqueue(null, async () => {
          if (!loaded) throw new GalvatronError("PROGRAM_INVALID", "No Program is loaded; load one first.");
          loaded.granted = Math.max(loaded.granted, message.until);
          while (loaded.nextStep < loaded.granted && aborted === null)
            await runStep(opened(worker), loaded, send);
        });
      } else if (message.kind === "finishSave") {
        // Answered while steps run.
        const { id } = message;
        saved(saving).then(
          (shard) => send({ kind: "saved", id, ...shard }),
          (error: unknown) => send(failure(id, error)),
        );
      } else {
        const { id } = message;
        enqueue(id, () => handle(message));
      }
    },
    orphaned: () => {
      try {
        if (sharedName !== null) addon.unlinkShared(sharedName);
      } catch {
        // Its name is already gone, as it should be.
      }
      // Waiting threads of the addon would hold up an orderly exit.
      process.kill(process.pid, "SIGKILL");
    },
  };
}

/** States as a checkpoint holds them, after this rank has checked its share of the files. */
async function checkpointSource({ checkpoint, verify }: Restore): Promise<StateSource> {
  const manifest = readManifest(checkpoint);
  for (const file of manifest.files) if (verify.includes(file.name)) await verifyFile(checkpoint, file);
  return storedStates(checkpoint, manifest);
}

async function saved(saving: ShardWriting | null): Promise<WrittenShard> {
  if (!saving) throw new GalvatronError("PROGRAM_INVALID", "No checkpoint is being written.");
  return saving.written;
}

/** Enough on a busy machine too, where threads that free wait: after three, one process in ten held 1.3 MB. */
const COLLECTIONS = 6;

/**
 * Collects all garbage: finalizers of one collection run in the next turn, and what buffers held is freed on another
 * thread, for which the next collection waits.
 */
function collect(times: number, done: () => void): void {
  setImmediate(() => {
    globalThis.gc?.();
    if (times > 1) collect(times - 1, done);
    else done();
  });
}

function endStepOf({ feed, firstStep }: Extract<ToWorker, { kind: "load" }>): number {
  const next = feed?.phases?.find((phase) => phase.firstStep > firstStep);
  return next?.firstStep ?? feed?.steps ?? Number.POSITIVE_INFINITY;
}

/** What feeding and reporting need of a Program. */
function withoutList(program: Program): Program {
  return { ...program, instructions: [], graphs: [], buffers: [], parameters: [], flats: [], constants: [] };
}

let lastEnd = 0;

async function runStep(
  native: NativeWorker,
  loaded: Loaded,
  send: (message: FromWorker) => void,
): Promise<void> {
  const { program, feeder } = loaded;
  const step = loaded.nextStep;
  const start = lastEnd > 0 && step > 0 ? lastEnd : performance.now();
  let running = loaded.begun;
  if (!running) {
    const inputs = feeder ? await (loaded.prepared ?? feeder.prepare(step)) : null;
    running = beginStep(native, program, inputs);
  }
  loaded.prepared = null;
  loaded.begun = null;
  let ended = false;
  if (feeder && step + 1 < loaded.endStep) {
    loaded.prepared = feeder.prepare(step + 1);
    loaded.prepared.then(
      (inputs) => {
        const goesOn = step + 1 < loaded.granted && !isDue(loaded, step + 1);
        if (ended || !goesOn) return;
        loaded.begun = beginStep(native, program, inputs);
        loaded.begun.catch(() => {}); // told by the step itself
      },
      () => {}, // told when the step that needs it asks for it
    );
  }
  const { times, shares, clip, learningRate } = await running;
  ended = true;
  loaded.nextStep = step + 1;
  const wallMs = performance.now() - start;
  const evaluation = isDue(loaded, loaded.nextStep) ? await evaluate(native, loaded) : null;
  lastEnd = performance.now();
  send({
    kind: "stepped",
    step,
    losses: shares.losses,
    gradientNorm: clip?.[1] ?? 0,
    learningRate,
    stepMs: times.stepMs,
    wallMs,
    instructionsMs: times.instructionsMs,
    sentBytes: times.sentBytes,
    arenaBytes: times.arenaBytes,
    onnxRuntimeBytes: times.onnxRuntimeBytes,
    graphBytes: times.graphBytes,
    memory: times.deviceBytes > 0 ? deviceMemory(times.deviceBytes) : processMemory(),
    evaluation,
  });
}

/** Asks for a step and what it leaves, all at once: the addon's thread does one after the other without a word in between. */
async function beginStep(
  native: NativeWorker,
  program: Program,
  inputs: StepInputs | null,
): Promise<StepOutcome> {
  const writes = (inputs?.writes ?? []).map((write) => native.write(write.tensor, write.bytes));
  const [times, shares, clip] = await Promise.all([
    native.step(),
    readShares(native, program),
    readFloats(native, program.io.clip),
    ...writes,
  ]);
  return { times, shares, clip, learningRate: inputs?.learningRate ?? 0 };
}

/** Whether held-out samples are looked at after so many steps. */
function isDue({ evaluation, lastStep }: Loaded, steps: number): boolean {
  return evaluation !== null && (steps === lastStep || steps % evaluation.every === 0);
}

/** Runs all held-out samples through the Program with an optimizer that changes nothing. */
async function evaluate(native: NativeWorker, loaded: Loaded): Promise<EvaluationShare> {
  const { program, feeder, evaluation } = loaded;
  const { globalBatch } = program.plan;
  const samples = evaluation!.samples;
  const sum = { loss: 0, accuracy: 0 };
  let counted = false;
  for (let batch = 0; batch * globalBatch < samples; batch++) {
    const { writes } = await feeder!.prepareEvaluation(batch);
    await Promise.all(writes.map((write) => native.write(write.tensor, write.bytes)));
    await native.step();
    const { losses, right } = await readShares(native, program);
    for (const loss of losses) sum.loss += loss;
    for (const share of right) sum.accuracy += share;
    counted ||= right.length > 0;
  }
  // A step's shares are means over a whole batch; the last one may be filled up with samples that do not count.
  const mean = (total: number): number => (total * globalBatch) / samples;
  return { loss: mean(sum.loss), accuracy: counted ? mean(sum.accuracy) : null };
}

/** On a device the memory that counts is the device's: allocated at load, and the same ever after. */
function deviceMemory(bytes: number): ProcessMemory {
  return { residentBytes: bytes, peakBytes: bytes, sharedBytes: 0 };
}

/** Models for devices have billions of elements: drawn over all cores. */
function nativeFill(addon: NativeAddon): FillNormal {
  return (target, seed, name, runs, standardDeviation) => {
    const [key0, key1] = streamKey(seed, name);
    addon.fillNormal(target, { key0, key1, ...runs, standardDeviation });
  };
}

/** What the head left for each micro-batch: its share of the loss, and of the right answers where it counts them. */
async function readShares(
  native: NativeWorker,
  { io, plan }: Program,
): Promise<{ readonly losses: Float32Array; readonly right: Float32Array }> {
  const all = (await readFloats(native, io.loss)) ?? new Float32Array(0);
  const each = all.length / plan.microBatches;
  const ofPlace = (place: number): Float32Array => all.filter((_, i) => i % each === place);
  return { losses: ofPlace(0), right: ofPlace(1) };
}

async function readFloats(native: NativeWorker, tensor: number): Promise<Float32Array | null> {
  if (tensor < 0) return null;
  const bytes = await native.read(tensor);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

function opened(worker: NativeWorker | null): NativeWorker {
  if (!worker) throw new GalvatronError("PROGRAM_INVALID", "The rank is not open yet; open it first.");
  return worker;
}

function failure(id: number | null, error: unknown): FromWorker {
  if (isGalvatronError(error))
    return { kind: "failed", id, code: error.code, message: error.message, context: error.context };
  const { code, message } = error as { code?: unknown; message?: unknown };
  const known: readonly ErrorCode[] = [
    "DEVICE_FAILED",
    "DEVICE_UNAVAILABLE",
    "WORKER_LOST",
    "PROGRAM_INVALID",
  ];
  return {
    kind: "failed",
    id,
    code: known.find((candidate) => candidate === code) ?? "DEVICE_FAILED",
    message: typeof message === "string" ? message : String(error),
    context: {},
  };
}
