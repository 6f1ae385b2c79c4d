import { open } from "node:fs/promises";
import { GalvatronError } from "../../base/errors.js";
import { decodeFloats, WEIGHT_BYTES, type WeightDtype } from "./float-formats.js";

/** Elements that are neighbours in a file. */
export interface FileRun {
  /** From the file's tensor or block on, in elements. */
  readonly from: number;
  /** In the target; the next ones follow `toStride` apart, one where it is left out. */
  readonly to: number;
  readonly toStride?: number;
  readonly elements: number;
}

/** Runs of a file that lie no further apart are read in one go: a page is read whole anyway. */
const GAP_BYTES = 4096;
/** Most that is read in one go. */
const SPAN_BYTES = 2 ** 23;

/**
 * Reads runs of one file into a target.
 *
 * @param startBytes where the elements that runs count from begin
 * @throws GalvatronError CHECKPOINT_INVALID for a file that cannot be read or ends too early
 */
export async function readRuns(
  path: string,
  startBytes: number,
  dtype: WeightDtype,
  runs: readonly FileRun[],
  target: Float32Array,
): Promise<void> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw new GalvatronError("CHECKPOINT_INVALID", `Cannot open ${path}.`, { path }, { cause });
  });
  const size = WEIGHT_BYTES[dtype];
  const read = async (from: number, into: Uint8Array): Promise<void> => {
    for (let done = 0; done < into.byteLength; ) {
      const at = startBytes + from * size + done;
      const { bytesRead } = await file.read(into, done, into.byteLength - done, at);
      if (bytesRead === 0)
        throw new GalvatronError("CHECKPOINT_INVALID", `${path} ends too early: it is truncated.`, { path });
      done += bytesRead;
    }
  };
  try {
    for (let first = 0; first < runs.length; ) {
      const begin = runs[first]!.from;
      const endOf = (index: number): number => runs[index]!.from + runs[index]!.elements;
      let last = first;
      while (
        last + 1 < runs.length &&
        runs[last + 1]!.from >= endOf(last) &&
        (runs[last + 1]!.from - endOf(last)) * size <= GAP_BYTES &&
        (endOf(last + 1) - begin) * size <= SPAN_BYTES
      )
        last++;
      const { to, toStride = 1, elements } = runs[first]!;
      if (last === first && toStride === 1 && dtype === "F32")
        await read(begin, new Uint8Array(target.buffer, target.byteOffset + 4 * to, 4 * elements));
      else {
        const bytes = new Uint8Array((endOf(last) - begin) * size);
        await read(begin, bytes);
        const values = decodeFloats(bytes, dtype);
        for (const run of runs.slice(first, last + 1)) place(values, run.from - begin, run, target);
      }
      first = last + 1;
    }
  } finally {
    await file.close();
  }
}

function place(
  values: Float32Array,
  at: number,
  { to, toStride = 1, elements }: FileRun,
  target: Float32Array,
): void {
  if (toStride === 1) target.set(values.subarray(at, at + elements), to);
  else for (let i = 0; i < elements; i++) target[to + i * toStride] = values[at + i]!;
}
