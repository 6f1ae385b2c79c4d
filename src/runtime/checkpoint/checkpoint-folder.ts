import { accessSync, constants, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { GalvatronError } from "../../base/errors.js";
import { type CheckpointManifest, manifestText, parseManifest } from "./manifest-json.js";

const MANIFEST_FILE = "manifest.json";
/** A save under way, and a checkpoint being removed: never read, and swept at the next save. */
const PARTIAL = ".partial";
const REMOVED = ".removed";

/** A complete checkpoint of a folder of checkpoints. */
export interface FoundCheckpoint {
  readonly step: number;
  readonly path: string;
}

function stepName(step: number): string {
  return `step-${String(step).padStart(8, "0")}`;
}

/** Complete checkpoints of a folder, oldest first; none where there is no folder. */
export function listCheckpoints(folder: string): readonly FoundCheckpoint[] {
  return namesIn(folder)
    .flatMap((name) => {
      const match = /^step-(\d+)$/.exec(name);
      return match ? [{ step: Number(match[1]), path: join(folder, name) }] : [];
    })
    .sort((a, b) => a.step - b.step);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read the checkpoint folder ${folder}.`,
      { path: folder },
      { cause },
    );
  }
}

/**
 * The checkpoint that a path means: itself, or the newest of a folder of checkpoints.
 *
 * @throws GalvatronError CHECKPOINT_INVALID when there is none
 */
export function findCheckpoint(path: string): string {
  if (statSync(join(path, MANIFEST_FILE), { throwIfNoEntry: false })) return path;
  const newest = listCheckpoints(path).at(-1);
  if (newest) return newest.path;
  const interrupted = namesIn(path).filter((name) => name.endsWith(PARTIAL)).length;
  throw new GalvatronError(
    "CHECKPOINT_INVALID",
    `No checkpoint in ${path}: expected folders like ${stepName(200)} with a ${MANIFEST_FILE}${
      interrupted > 0 ? `; found only ${interrupted} interrupted save(s)` : ""
    }. Give the folder that a run saved in.`,
    { path },
  );
}

/**
 * Reads a checkpoint's manifest and looks at its files' sizes; their contents are checked when they are loaded.
 *
 * @throws GalvatronError CHECKPOINT_INVALID with the file that is missing, truncated or corrupted
 */
export function readManifest(checkpoint: string): CheckpointManifest {
  const path = join(checkpoint, MANIFEST_FILE);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new GalvatronError("CHECKPOINT_INVALID", `Cannot read ${path}.`, { path }, { cause });
  }
  const manifest = parseManifest(text, path);
  for (const { name, sizeBytes } of manifest.files) requireSize(join(checkpoint, name), sizeBytes);
  return manifest;
}

function requireSize(path: string, sizeBytes: number): void {
  const found = statSync(path, { throwIfNoEntry: false })?.size;
  if (found === sizeBytes) return;
  throw new GalvatronError(
    "CHECKPOINT_INVALID",
    found === undefined
      ? `${path} is missing. Resume from another checkpoint.`
      : `${path} has ${found} bytes; its manifest says ${sizeBytes}. Resume from another checkpoint.`,
    { path, sizeBytes, foundBytes: found ?? 0 },
  );
}

/**
 * Makes the folder of checkpoints of a training. It belongs to one: a new one needs a folder without any, a resumed one
 * goes on where the newest is. Otherwise "the newest" would mean two things, and one training would remove what the
 * other saved.
 *
 * @param resumed - the checkpoint that the training goes on from
 * @throws GalvatronError ARGUMENT_INVALID; FILE_UNWRITABLE now and not after hours
 */
export function openCheckpointFolder(folder: string, resumed: string | null): void {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNWRITABLE",
      `Cannot save checkpoints in ${folder}. Choose a folder that can be made and written.`,
      { path: folder },
      { cause },
    );
  }
  const newest = listCheckpoints(folder).at(-1);
  if (!newest || (resumed !== null && resolve(newest.path) === resolve(resumed))) return;
  throw new GalvatronError(
    "ARGUMENT_INVALID",
    `${folder} holds checkpoints of another training, up to step ${newest.step}. Resume from it (resume: "${folder}"), move them away, or save in another folder.`,
    { path: folder, step: newest.step },
  );
}

/**
 * Opens the folder of a save, under a name that no reader takes for a checkpoint. Sweeps what interrupted saves left.
 *
 * @throws GalvatronError FILE_UNWRITABLE
 */
export function beginSave(folder: string, step: number): string {
  const path = join(folder, `${stepName(step)}${PARTIAL}`);
  try {
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(folder))
      if (/^step-\d+\.(partial|removed)$/.test(name)) rmSync(join(folder, name), { recursive: true });
    mkdirSync(path);
  } catch (cause) {
    throw unwritable(path, cause);
  }
  return path;
}

/**
 * Makes a save a checkpoint: the manifest is written, everything is on the disk, then the folder gets its name. Before
 * that last step nothing is there for readers, after it all is.
 *
 * @throws GalvatronError FILE_UNWRITABLE
 */
export async function endSave(folder: string, manifest: CheckpointManifest): Promise<string> {
  const partial = join(folder, `${stepName(manifest.step)}${PARTIAL}`);
  const path = join(folder, stepName(manifest.step));
  try {
    const file = await open(join(partial, MANIFEST_FILE), "wx");
    try {
      await file.writeFile(manifestText(manifest));
      await file.sync();
    } finally {
      await file.close();
    }
    await syncFolder(partial);
    await rename(partial, path);
    await syncFolder(folder);
  } catch (cause) {
    throw unwritable(path, cause);
  }
  return path;
}

/**
 * Removes all but the newest checkpoints. Each loses its name first: an interrupted removal leaves no half checkpoint.
 *
 * @throws GalvatronError FILE_UNWRITABLE
 */
export async function keepNewest(folder: string, keep: number): Promise<void> {
  for (const { path } of listCheckpoints(folder).slice(0, -keep)) {
    try {
      await rename(path, `${path}${REMOVED}`);
      await rm(`${path}${REMOVED}`, { recursive: true });
    } catch (cause) {
      throw unwritable(path, cause);
    }
  }
}

/** New names of a folder are on the disk only after this. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The error of a checkpoint that could not be written, with the system's reason in words. */
export function unwritable(path: string, cause: unknown): GalvatronError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason =
    code === "ENOSPC"
      ? "the disk is full"
      : code === "EACCES" || code === "EPERM" || code === "EROFS"
        ? "no permission"
        : message;
  return new GalvatronError(
    "FILE_UNWRITABLE",
    `Cannot write the checkpoint ${path}: ${reason}. Earlier checkpoints are as they were.`,
    { path },
    { cause },
  );
}
