import { type ErrorCode, GalvatronError, isGalvatronError } from "../../base/errors.js";
import { streamKey } from "../../base/random.js";
import type { NativeAddon, NativeWorker } from "../../device/addon.js";
import type { Program } from "../../program/program.js";
import { readManifest } from "../checkpoint/checkpoint-folder.js";
import { type StateSource, storedStates, verifyFile } from "../checkpoint/stored-states.js";
import { type ShardWriting, type WrittenShard, writeShard } from "../checkpoint/write-shard.js";
import { weightStates, writeWeights } from "../weights/weight-states.js";
import type { FromWorker, Restore, ToWorker } from "../wire.js";
import { openFeeder } from "./feeder.js";
import {
  constantWrites,
  drawnStates,
  type FillNormal,
  type InitialValueOptions,
  initialWrites,
  repeatedWrites,
} from "./initial-values.js";
import { processMemory } from "./process-memory.js";
import { evaluate, type Loaded, runStep } from "./steps.js";

/** One rank: answers the coordinator's messages in order, and runs steps as far as it is granted. */
export interface Rank {
  receive(message: ToWorker): void;
  /** The coordinator is gone: leave nothing behind. */
  orphaned(): void;
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
        // At once: a step that runs asks for the next one before it has ended, if that is granted.
        if (loaded) loaded.granted = Math.max(loaded.granted, message.until);
        enqueue(null, async () => {
          if (!loaded) throw new GalvatronError("PROGRAM_INVALID", "No Program is loaded; load one first.");
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

/** Models for devices have billions of elements: drawn over all cores. */
function nativeFill(addon: NativeAddon): FillNormal {
  return (target, seed, name, runs, standardDeviation) => {
    const [key0, key1] = streamKey(seed, name);
    addon.fillNormal(target, { key0, key1, ...runs, standardDeviation });
  };
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
