import { GalvatronError } from "../../base/errors.js";
import type { NativeAddon } from "../../device/addon.js";
import { product } from "../../program/flat-layout.js";
import type { Program } from "../../program/program.js";
import { stateBytes } from "../../program/state-region.js";
import type { CheckpointFile } from "../checkpoint/manifest-json.js";
import type { ShardJob, WrittenShard } from "../checkpoint/write-shard.js";
import type { StoredWeights } from "../weights/weight-folder.js";
import type { WeightsJob } from "../weights/weight-states.js";
import type { EvaluationShare, Feed, ProcessMemory, SteppedMessage } from "../wire.js";
import { type RankProcess, startRankProcess } from "./rank-process.js";
import { removeStaleSegments, segmentName } from "./shared-segment.js";

const START_DEADLINE_MS = 30_000;
const LOAD_DEADLINE_MS = 300_000;
const ANSWER_DEADLINE_MS = 60_000;
const CLOSE_DEADLINE_MS = 5_000;
/** For many steps at once, each of which has a deadline of its own: the longest that a timer knows. */
const LONGEST_DEADLINE_MS = 2 ** 31 - 1;
/** A disk that moves less is taken for one that hangs. */
const LEAST_BYTES_PER_MS = 5_000;
/** A rank that fails because its neighbour died tells so before the system tells of the death. */
const LOSS_NEWS_MS = 500;
/** Time that the other ranks get to leave their step before they are killed. */
const ABORT_GRACE_MS = 1_000;

export interface PoolOptions {
  readonly addon: NativeAddon;
  readonly onnxRuntimePath: string;
  readonly ranks: number;
  readonly device: "host" | "cuda";
  /** Threads of one graph run. */
  readonly threads: number;
  /** No rank waits longer for another one within a step. */
  readonly deadlineMs: number;
  /** Shared memory for transfers and collectives, for each rank. */
  readonly sharedBytesPerRank: number;
}

/** One rank's part of a step. */
export interface RankStep extends Omit<SteppedMessage, "kind"> {
  readonly rank: number;
}

export interface PoolJob {
  /** One for each rank; may be fewer than the pool has. */
  readonly programs: readonly Program[];
  readonly graphs: ReadonlyMap<string, Uint8Array>;
  readonly seed: number | null;
  /** Parameters may repeat values after a while, which is quicker: for timing. */
  readonly repeated?: boolean;
  /** A checkpoint to load instead; its files are checked on the way. */
  readonly restore?: StoredCheckpoint;
  /** Parameters to load instead, with fresh moments. */
  readonly weights?: StoredWeights;
  readonly feed: Feed | null;
  readonly firstStep: number;
  /** States stay as the Programs before left them, at the same addresses (`keepsStates`). */
  readonly goesOn?: boolean;
}

/** A checkpoint on the disk. */
export interface StoredCheckpoint {
  readonly path: string;
  readonly files: readonly Pick<CheckpointFile, "name" | "sizeBytes">[];
}

/** Running worker processes, one per rank. One Program after another may be loaded into the same processes. */
export interface WorkerPool {
  readonly options: PoolOptions;
  readonly pids: readonly number[];
  /** What each process held before anything was loaded. */
  readonly idleMemory: readonly ProcessMemory[];
  /** Why the pool can no longer be used, if so. */
  readonly failure: GalvatronError | null;
  load(job: PoolJob): Promise<readonly ProcessMemory[]>;
  /** Grants all steps below `until` to the ranks of the loaded job. */
  advance(until: number): void;
  /** Hears every rank's every step, until the next call; `onFailure` hears the end of the pool. */
  listen(onStep: (step: RankStep) => void, onFailure: (error: GalvatronError) => void): void;
  /** Runs `count` further steps and gathers them: `[step][rank]`. */
  run(count: number): Promise<readonly (readonly RankStep[])[]>;
  read(rank: number, tensors: readonly number[]): Promise<readonly Uint8Array[]>;
  write(rank: number, writes: readonly { tensor: number; bytes: Uint8Array }[]): Promise<void>;
  /**
   * Lets a rank copy its part of a checkpoint after the steps that are granted so far; how long that held it up, in ms.
   * {@link finishSave} tells when the part is written.
   */
  save(rank: number, shard: ShardJob): Promise<number>;
  finishSave(rank: number, sizeBytes: number): Promise<WrittenShard>;
  /** Lets a rank evaluate what it holds, as the loaded job's feed says; all ranks must. */
  evaluate(rank: number): Promise<EvaluationShare>;
  /** Lets a rank write its part of exported weights after the steps that are granted so far. */
  writeWeights(rank: number, job: WeightsJob): Promise<void>;
  /** JavaScript files loaded by a rank. */
  modules(rank: number): Promise<readonly string[]>;
  /** Breaks off the step in flight: the pool ends with this error. */
  abort(error: GalvatronError): void;
  /** Ends the processes; resolves when all are gone. */
  close(): Promise<void>;
}

/** Starts the worker processes and brings them together in shared memory. */
export async function openWorkerPool(options: PoolOptions): Promise<WorkerPool> {
  const { addon, ranks } = options;
  removeStaleSegments();
  const sharedName = segmentName();
  addon.createShared({ name: sharedName, ranks, bytesPerRank: options.sharedBytesPerRank });

  let failure: GalvatronError | null = null;
  let closing: Promise<void> | null = null;
  let onStep: (step: RankStep) => void = () => {};
  let onFailure: (error: GalvatronError) => void = () => {};
  let loadedRanks = 0;
  let nextStep = 0;

  const fail = (error: GalvatronError): void => {
    if (failure || closing) return;
    failure = error;
    for (const process of processes) process.expectExit();
    for (const process of processes) process.tell({ kind: "abort", reason: error.message });
    setTimeout(() => {
      for (const process of processes) process.kill();
    }, ABORT_GRACE_MS);
    for (const process of processes) process.rejectAll(error);
    void Promise.all(processes.map((process) => process.gone)).then(() => onFailure(error));
  };

  const processes: readonly RankProcess[] = Array.from({ length: ranks }, (_, rank) =>
    startRankProcess(rank, {
      onStep: (from, { kind: _kind, ...step }) => {
        nextStep = Math.max(nextStep, step.step + 1);
        onStep({ ...step, rank: from });
      },
      onFailure: (_from, error) => setTimeout(() => fail(error), LOSS_NEWS_MS),
      onLost: (_from, error) => fail(error),
    }),
  );
  const active = (): readonly RankProcess[] => processes.slice(0, loadedRanks);
  const usable = (): void => {
    if (failure) throw failure;
    if (closing) throw new GalvatronError("RUN_STOPPED", "The worker pool is closed.");
  };

  const close = async (): Promise<void> => {
    for (const process of processes) process.expectExit();
    const timer = setTimeout(() => {
      for (const process of processes) process.kill();
    }, CLOSE_DEADLINE_MS);
    await Promise.all(
      processes.map(async (process) => {
        await process.request({ kind: "close" }, "closed", CLOSE_DEADLINE_MS).catch(() => {});
        process.kill();
        await process.gone;
      }),
    );
    clearTimeout(timer);
  };

  const pool: WorkerPool = {
    options,
    pids: processes.map((process) => process.pid),
    idleMemory: [],
    get failure() {
      return failure;
    },
    load: async (job) => {
      usable();
      if (job.programs.length > ranks)
        throw new GalvatronError(
          "PLAN_INVALID",
          `The plan needs ${job.programs.length} ranks; this pool has ${ranks}.`,
          { ranks },
        );
      loadedRanks = job.programs.length;
      nextStep = job.firstStep;
      const { restore, weights } = job;
      const restoredBytes =
        (restore?.files.reduce((sum, file) => sum + file.sizeBytes, 0) ?? 0) + (weights?.sizeBytes ?? 0);
      const replies = await Promise.all(
        active().map((process, rank) => {
          const program = job.programs[rank]!;
          const graphs: Record<string, Uint8Array> = {};
          for (const { id } of program.graphs) {
            const bytes = job.graphs.get(id);
            if (!bytes)
              throw new GalvatronError("PROGRAM_INVALID", `Graph ${id} of rank ${rank} is not in the store.`);
            graphs[id] = bytes;
          }
          const held = new Set(program.parameters.map(({ name }) => name));
          const files = restore?.files.filter((_, index) => index % loadedRanks === rank) ?? [];
          return process.request(
            {
              kind: "load",
              program,
              graphs,
              seed: job.seed,
              repeated: job.repeated ?? false,
              restore: restore ? { checkpoint: restore.path, verify: files.map((file) => file.name) } : null,
              weights: weights?.views.filter(({ view }) => held.has(view.parameter)) ?? null,
              feed: job.feed,
              firstStep: job.firstStep,
              keptBytes: job.goesOn ? stateBytes(program) : 0,
            },
            "loaded",
            LOAD_DEADLINE_MS + restoredBytes / LEAST_BYTES_PER_MS,
          );
        }),
      );
      return replies.map((reply) => reply.memory);
    },
    advance: (until) => {
      for (const process of active()) process.tell({ kind: "advance", until });
    },
    listen: (step, failed) => {
      onStep = step;
      onFailure = failed;
      if (failure) failed(failure);
    },
    run: (count) => {
      usable();
      const first = nextStep;
      const steps: RankStep[][] = Array.from({ length: count }, () => []);
      let left = count * loadedRanks;
      return new Promise((resolve, reject) => {
        pool.listen((step) => {
          steps[step.step - first]![step.rank] = step;
          left--;
          if (left === 0) resolve(steps);
        }, reject);
        pool.advance(first + count);
      });
    },
    read: async (rank, tensors) => {
      usable();
      return (await processes[rank]!.request({ kind: "read", tensors }, "tensors", ANSWER_DEADLINE_MS))
        .tensors;
    },
    write: async (rank, writes) => {
      usable();
      await processes[rank]!.request({ kind: "write", writes }, "written", ANSWER_DEADLINE_MS);
    },
    save: async (rank, shard) => {
      usable();
      // Steps that are granted come first, and the evaluation behind them. Once they are over a rank answers, and the save has
      // a deadline of its own: a disk may hang.
      await processes[rank]!.request({ kind: "describe" }, "described", LONGEST_DEADLINE_MS);
      const bytes = shard.parts.reduce((sum, { elements }) => sum + 4 * elements, 0);
      const deadlineMs = options.deadlineMs + bytes / LEAST_BYTES_PER_MS;
      return (await processes[rank]!.request({ kind: "save", shard }, "copied", deadlineMs)).copyMs;
    },
    finishSave: async (rank, sizeBytes) => {
      usable();
      const deadlineMs = ANSWER_DEADLINE_MS + sizeBytes / LEAST_BYTES_PER_MS;
      return processes[rank]!.request({ kind: "finishSave" }, "saved", deadlineMs);
    },
    writeWeights: async (rank, job) => {
      usable();
      const bytes = job.blocks.reduce((sum, { extent }) => sum + 4 * product(extent), 0);
      const deadlineMs = ANSWER_DEADLINE_MS + bytes / LEAST_BYTES_PER_MS;
      await processes[rank]!.request({ kind: "writeWeights", job }, "written", deadlineMs);
    },
    evaluate: async (rank) => {
      usable();
      return (await processes[rank]!.request({ kind: "evaluate" }, "evaluated", LONGEST_DEADLINE_MS)).share;
    },
    modules: async (rank) => {
      usable();
      return (await processes[rank]!.request({ kind: "describe" }, "described", ANSWER_DEADLINE_MS)).modules;
    },
    abort: fail,
    close: () => {
      closing ??= failure ? Promise.all(processes.map((process) => process.gone)).then(() => {}) : close();
      return closing;
    },
  };

  try {
    const opened = await Promise.all(
      processes.map((process) =>
        process.request(
          {
            kind: "open",
            options: {
              device: options.device,
              deviceIndex: options.device === "cuda" ? process.rank : 0,
              rank: process.rank,
              ranks,
              onnxRuntimePath: options.onnxRuntimePath,
              sharedName,
              threads: options.threads,
              deadlineMs: options.deadlineMs,
            },
          },
          "opened",
          START_DEADLINE_MS,
        ),
      ),
    );
    return Object.assign(pool, { idleMemory: opened.map((reply) => reply.memory) });
  } catch (error) {
    for (const process of processes) {
      process.expectExit();
      process.kill();
    }
    await Promise.all(processes.map((process) => process.gone));
    throw error;
  } finally {
    // All are in, or none will be: from here on the segment lives only as long as the processes do.
    addon.unlinkShared(sharedName);
  }
}
