import type { Program } from "../../program/program.js";
import { wholeShapes } from "../../program/state-blocks.js";
import { batchPhases, firstSampleOf } from "../batch-ramp.js";
import { beginSave, endSave, keepNewest } from "../checkpoint/checkpoint-folder.js";
import type { CheckpointOrigin } from "../checkpoint/manifest-json.js";
import { planShards } from "../checkpoint/shards.js";
import type { WorkerPool } from "./worker-pool.js";

/** Where and when a training saves its states. */
export interface CheckpointJob {
  /** Folder of checkpoints. */
  readonly folder: string;
  /** Saves after every so many steps, and after the last; null only after the last. */
  readonly every: number | null;
  /** How many of the newest checkpoints stay; null keeps all. */
  readonly keep: number | null;
  /** Memory of a rank that copies may take while they wait to be written. */
  readonly copyBytes: number;
  readonly origin: CheckpointOrigin;
}

/** A checkpoint that a training has saved. */
export interface SavedCheckpoint {
  /** Steps done. */
  readonly step: number;
  readonly path: string;
  readonly sizeBytes: number;
  /** How long no rank trained, and until all was on the disk. */
  readonly stallMs: number;
  readonly saveMs: number;
}

export interface CheckpointSaver {
  /** The first step after `step` before which states are saved; infinite when there is none but the last. */
  nextAfter(step: number): number;
  /**
   * Saves after the steps that are granted. Resolves when the ranks may go on; writing goes on behind them.
   *
   * @param endedMs - when the last step ended, on the clock of `performance.now()`
   * @throws GalvatronError FILE_UNWRITABLE
   */
  save(step: number, endedMs: () => number): Promise<void>;
  /** Resolves when every save is on the disk. @throws GalvatronError FILE_UNWRITABLE */
  idle(): Promise<void>;
}

export interface SaverEvents {
  /** A checkpoint can be loaded. */
  onSaved(saved: SavedCheckpoint): void;
  /** A save failed behind the training. */
  onFailure(error: unknown): void;
}

export function openSaver(
  pool: WorkerPool,
  programs: readonly Program[],
  job: CheckpointJob,
  events: SaverEvents,
): CheckpointSaver {
  const shards = planShards(programs);
  const { plan, data } = job.origin;
  const microBatch = plan.globalBatch / plan.microBatches;
  const phases = batchPhases(data.rampUp ?? null, data.samplesPerStep, microBatch);
  const parameters = Object.fromEntries(wholeShapes(programs));
  let writing: Promise<void> = Promise.resolve();

  const finish = async (step: number, start: number, stallMs: number): Promise<void> => {
    const written = await Promise.all(shards.map((shard, rank) => pool.finishSave(rank, shard.sizeBytes)));
    const path = await endSave(job.folder, {
      ...job.origin,
      step,
      samples: firstSampleOf(phases, step),
      parameters,
      files: shards.map(({ name, blocks }, rank) => {
        const { sizeBytes, sha256 } = written[rank]!;
        return { name, sizeBytes, sha256, blocks };
      }),
    });
    if (job.keep !== null) await keepNewest(job.folder, job.keep);
    events.onSaved({
      step,
      path,
      sizeBytes: written.reduce((sum, file) => sum + file.sizeBytes, 0),
      stallMs,
      saveMs: performance.now() - start,
    });
  };

  return {
    nextAfter: (step) =>
      job.every === null ? Number.POSITIVE_INFINITY : (Math.floor(step / job.every) + 1) * job.every,
    save: async (step, endedMs) => {
      // One at a time: a disk that cannot keep up slows training down instead of filling the memory.
      await writing;
      const start = performance.now();
      const folder = beginSave(job.folder, step);
      await Promise.all(
        shards.map(({ name, header, parts }, rank) =>
          pool.save(rank, { path: `${folder}/${name}`, header, parts, copyBytes: job.copyBytes }),
        ),
      );
      writing = finish(step, start, performance.now() - endedMs());
      writing.catch(events.onFailure);
    },
    idle: () => writing,
  };
}
