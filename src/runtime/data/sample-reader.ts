import { type FileHandle, open } from "node:fs/promises";
import { GalvatronError } from "../../base/errors.js";
import type { Dataset, TextDataset } from "./dataset.js";
import { hashNumbers, sampleAt } from "./sample-order.js";

/** Files that one rank keeps open at a time. */
const MAX_OPEN_FILES = 64;

/** Reads samples by their place in the training order. Holds file handles: close it. */
export interface SampleReader {
  /**
   * `sequence + 1` tokens of the sample at `place`: inputs are the first `sequence`, labels the last.
   * @throws GalvatronError DATA_INVALID when a file became shorter since the run began
   */
  read(place: number): Promise<Int32Array>;
  close(): Promise<void>;
}

export function openSamples(dataset: Dataset): SampleReader {
  if (dataset.format === "text") return openText(dataset);
  const { sequence, vocabulary, seed } = dataset;
  return {
    read: async (place) => {
      const tokens = new Int32Array(sequence + 1);
      let previous = hashNumbers(seed, place) % vocabulary;
      for (let i = 0; i <= sequence; i++) {
        const noise = hashNumbers(seed, place, i);
        // Three of four tokens follow from the one before: a rule that a model can learn.
        previous = noise % 4 === 0 ? (noise >>> 2) % vocabulary : (previous * 5 + 17) % vocabulary;
        tokens[i] = previous;
      }
      return tokens;
    },
    close: async () => {},
  };
}

function openText(dataset: TextDataset): SampleReader {
  const { files, sequence, samples, seed, shuffle } = dataset;
  const starts: number[] = [];
  let total = 0;
  for (const file of files) {
    starts.push(total);
    total += file.sizeBytes;
  }
  const handles = new Map<number, FileHandle>();

  const handleOf = async (index: number): Promise<FileHandle> => {
    const known = handles.get(index);
    if (known) {
      handles.delete(index);
      handles.set(index, known); // most recently used stands last
      return known;
    }
    const path = files[index]!.path;
    const handle = await open(path, "r").catch((cause: unknown) => {
      throw new GalvatronError("FILE_UNREADABLE", `Cannot open ${path}.`, { path }, { cause });
    });
    handles.set(index, handle);
    if (handles.size > MAX_OPEN_FILES) {
      const [oldest, old] = handles.entries().next().value!;
      handles.delete(oldest);
      await old.close();
    }
    return handle;
  };

  /** Bytes `[start, start + length)` of all files, one after another. */
  const readBytes = async (start: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length);
    let file = lastNotAbove(starts, start);
    let done = 0;
    while (done < length) {
      const { path, sizeBytes } = files[file]!;
      const from = start + done - starts[file]!;
      const want = Math.min(length - done, sizeBytes - from);
      if (want > 0) {
        const handle = await handleOf(file);
        const { bytesRead } = await handle.read(bytes, done, want, from);
        if (bytesRead < want)
          throw new GalvatronError("DATA_INVALID", `${path} became shorter while training read it.`, {
            path,
            sizeBytes,
          });
        done += want;
      }
      file++;
    }
    return bytes;
  };

  return {
    read: async (place) => {
      const sample = sampleAt(place, samples, seed, shuffle);
      return Int32Array.from(await readBytes(sample * sequence, sequence + 1));
    },
    close: async () => {
      for (const handle of handles.values()) await handle.close();
      handles.clear();
    },
  };
}

/** Index of the last value of an ascending list that is not above `value`. */
function lastNotAbove(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ascending[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
