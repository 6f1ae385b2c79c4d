import { type FileHandle, open } from "node:fs/promises";
import { GalvatronError } from "../../base/errors.js";
import type { TensorView } from "../../families/tensor-view.js";
import { viewRuns } from "../../families/view-runs.js";
import { product } from "../../program/flat-layout.js";
import type { HeldBlock } from "../../program/state-blocks.js";
import type { StateSource } from "../checkpoint/stored-states.js";
import { encodeFloats, WEIGHT_BYTES, type WeightDtype } from "./float-formats.js";
import { readRuns } from "./read-runs.js";

/** A parameter's view of a tensor, and the file that this tensor lies in. */
export interface PlacedView {
  readonly view: TensorView;
  readonly path: string;
  readonly dtype: WeightDtype;
  /** Byte of the file at which the tensor starts. */
  readonly start: number;
}

/** Parameters as they lie in files of Hugging Face's layout, and fresh moments. Reads only what is asked for. */
export function weightStates(placed: readonly PlacedView[]): StateSource {
  const byName = new Map(placed.map((one) => [one.view.parameter, one]));
  return {
    read: async (state, block, target) => {
      if (state !== "parameter") {
        target.fill(0);
        return;
      }
      const { view, path, dtype, start } = placedOf(byName, block.name);
      const runs = Array.from(viewRuns(view, block), (run) => ({
        from: run.fileElement,
        to: run.blockElement,
        toStride: run.blockStride,
        elements: run.count,
      }));
      await readRuns(path, start, dtype, runs, target);
    },
  };
}

/** What one rank writes of files that stand ready in their full length. */
export interface WeightsJob {
  readonly views: readonly PlacedView[];
  /** Blocks of float32 parameters in the rank's tensors. */
  readonly blocks: readonly HeldBlock[];
}

/**
 * Writes a rank's blocks to their places.
 *
 * @param read a tensor's bytes
 * @throws GalvatronError FILE_UNWRITABLE
 */
export async function writeWeights(
  read: (tensor: number) => Promise<Uint8Array>,
  { views, blocks }: WeightsJob,
): Promise<void> {
  const byName = new Map(views.map((one) => [one.view.parameter, one]));
  const files = new Map<string, FileHandle>();
  const sorted = [...blocks].sort((a, b) => a.tensor - b.tensor || a.offset - b.offset);
  let tensor = -1;
  let values: Float32Array = new Float32Array();
  let path = "";
  try {
    for (const block of sorted) {
      if (tensor !== block.tensor) values = floatsOf(await read(block.tensor));
      tensor = block.tensor;
      const placed = placedOf(byName, block.name);
      path = placed.path;
      const file = files.get(path) ?? (await open(path, "r+"));
      files.set(path, file);
      const own = values.subarray(block.offset, block.offset + product(block.extent));
      await writeBlock(file, placed, block, own);
    }
    for (const file of files.values()) await file.sync();
  } catch (cause) {
    throw cause instanceof Error && "syscall" in cause ? unwritable(path, cause) : cause;
  } finally {
    for (const file of files.values()) await file.close();
  }
}

async function writeBlock(
  file: FileHandle,
  { view, dtype, start }: PlacedView,
  block: HeldBlock,
  values: Float32Array,
): Promise<void> {
  const size = WEIGHT_BYTES[dtype];
  for (const { fileElement, blockElement, blockStride, count } of viewRuns(view, block)) {
    let run = values.subarray(blockElement, blockElement + count);
    if (blockStride !== 1) {
      run = new Float32Array(count);
      for (let i = 0; i < count; i++) run[i] = values[blockElement + i * blockStride]!;
    }
    const bytes = encodeFloats(run, dtype);
    for (let done = 0; done < bytes.byteLength; ) {
      const at = start + fileElement * size + done;
      done += (await file.write(bytes, done, bytes.byteLength - done, at)).bytesWritten;
    }
  }
}

function placedOf(byName: ReadonlyMap<string, PlacedView>, name: string): PlacedView {
  const placed = byName.get(name);
  if (placed) return placed;
  throw new GalvatronError("PROGRAM_INVALID", `No file is named for the parameter ${name}.`, { name });
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** The error of weights that could not be written, with the system's reason. */
export function unwritable(path: string, cause: unknown): GalvatronError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GalvatronError(
    "FILE_UNWRITABLE",
    `Cannot write weights to ${path}: ${reason}.`,
    { path },
    { cause },
  );
}
