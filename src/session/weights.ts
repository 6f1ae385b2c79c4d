import { basename, isAbsolute, join } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { parseConfigJson } from "../families/hugging-face-json.js";
import type { ModelOptions } from "../model/model-options.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { LoweredPlan } from "../program/lower-plan.js";
import { findCheckpoint, readManifest } from "../runtime/checkpoint/checkpoint-folder.js";
import { modelSha256 } from "../runtime/checkpoint/manifest-json.js";
import { type ExportJob, exportWeights } from "../runtime/coordinator/export-weights.js";
import { openWorkerPool, type PoolJob, type PoolOptions } from "../runtime/coordinator/worker-pool.js";
import type { WeightDtype } from "../runtime/weights/float-formats.js";
import { readConfig, type StoredWeights, storedWeights } from "../runtime/weights/weight-folder.js";
import type { Session } from "./session.js";

/** Element types that weights can be written in. */
const DTYPES: Readonly<Record<"float32" | "bfloat16" | "float16", WeightDtype>> = {
  float32: "F32",
  bfloat16: "BF16",
  float16: "F16",
};

/** How weights are written for Hugging Face. */
export interface WeightsOptions {
  /** Folder for `config.json` and safetensors; made when it is not there. */
  readonly folder: string;
  /** Element type in the files; float32, which is what training holds, when left out. */
  readonly dtype?: keyof typeof DTYPES;
  /** Most bytes of tensors in one file; 5 · 10^9 when left out. */
  readonly fileBytes?: number;
}

/** States where nothing has been trained: the seed's parameters unless one of these is given. */
export interface ExportSource {
  /** A checkpoint, or the newest of a folder of checkpoints, of this model under any plan. */
  readonly checkpoint?: string;
  /** A folder of Hugging Face weights of this model. */
  readonly weights?: string;
  /** Of the parameters; 0 when left out. */
  readonly seed?: number;
}

export function inFolder(session: Session, path: string): string {
  return isAbsolute(path) ? path : join(session.folder, path);
}

/**
 * The model that a folder's `config.json` describes.
 *
 * @throws GalvatronError FILE_UNREADABLE, MODEL_UNKNOWN, MODEL_INVALID
 */
export function modelFrom(session: Session, folder: string, options: ModelOptions): ModelSpec {
  const path = inFolder(session, folder);
  return parseConfigJson(readConfig(path), basename(path), options);
}

/**
 * A folder's weights for a model; tensors that it has no use for are told to the reader.
 *
 * @throws GalvatronError FILE_UNREADABLE, CHECKPOINT_INVALID
 */
export function weightsFrom(session: Session, folder: string, model: ModelSpec): StoredWeights {
  const weights = storedWeights(inFolder(session, folder), model);
  const { unused } = weights;
  if (unused.length > 0)
    session.reporter.notice(
      `${unused.length} tensors of ${folder} have no place in ${model.name}: ${unused.slice(0, 5).join(", ")}${unused.length > 5 ? ", …" : ""}.`,
    );
  return weights;
}

/** @throws GalvatronError ARGUMENT_INVALID */
export function exportJob(session: Session, given: string | WeightsOptions, model: ModelSpec): ExportJob {
  const { folder, dtype = "float32", fileBytes } = typeof given === "string" ? { folder: given } : given;
  if (!Object.hasOwn(DTYPES, dtype))
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected the element type ${Object.keys(DTYPES).join(", ")} for weights, got ${String(dtype)}.`,
    );
  if (fileBytes !== undefined && !(fileBytes > 0))
    throw new GalvatronError("ARGUMENT_INVALID", `Expected fileBytes above 0, got ${fileBytes}.`);
  const limit = fileBytes === undefined ? {} : { fileBytes };
  return { folder: inFolder(session, folder), model, dtype: DTYPES[dtype], ...limit };
}

/**
 * What a pool loads of a source, and how many steps it was trained.
 *
 * @throws GalvatronError FILE_UNREADABLE, CHECKPOINT_INVALID, ARGUMENT_INVALID
 */
export function statesFrom(
  session: Session,
  { checkpoint, weights, seed }: ExportSource,
  model: ModelSpec,
): Pick<PoolJob, "restore" | "weights"> & { readonly seed: number; readonly steps: number } {
  if (checkpoint !== undefined && weights !== undefined)
    throw new GalvatronError("ARGUMENT_INVALID", "Give a checkpoint or weights, not both.");
  if (weights !== undefined)
    return { seed: seed ?? 0, steps: 0, weights: weightsFrom(session, weights, model) };
  if (checkpoint === undefined) return { seed: seed ?? 0, steps: 0 };
  const path = findCheckpoint(inFolder(session, checkpoint));
  const manifest = readManifest(path);
  if (manifest.model.sha256 !== modelSha256(model))
    throw new GalvatronError(
      "CHECKPOINT_INVALID",
      `${path} is of another model (${manifest.model.name}); this plan is for ${model.name} with other sizes or options.`,
      { path },
    );
  return { seed: seed ?? manifest.seed, steps: manifest.step, restore: { path, files: manifest.files } };
}

/**
 * Loads states into the ranks of a plan, which then write their parts of the weights: no process holds them all.
 *
 * @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, CHECKPOINT_INVALID, ARGUMENT_INVALID
 */
export async function exportStates(
  session: Session,
  { programs, graphs }: LoweredPlan,
  pool: PoolOptions,
  from: ExportSource,
  job: ExportJob,
): Promise<void> {
  const { steps: _steps, ...states } = statesFrom(session, from, job.model);
  const workers = await openWorkerPool(pool);
  try {
    await workers.load({ programs, graphs, feed: null, firstStep: 0, ...states });
    await exportWeights(workers, programs, job);
  } finally {
    await workers.close();
  }
}
