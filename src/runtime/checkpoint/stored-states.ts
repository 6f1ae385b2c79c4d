import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { GalvatronError } from "../../base/errors.js";
import { product } from "../../program/flat-layout.js";
import {
  type BlockRun,
  blockRuns,
  intersection,
  type ParameterBlock,
  type StateKind,
} from "../../program/state-blocks.js";
import type { CheckpointFile, CheckpointManifest, StoredBlock } from "./manifest-json.js";

/** Where the states of a fresh rank come from, block by block. */
export interface StateSource {
  /** Fills `target` with the elements of a block, row-major. */
  read(state: StateKind, block: ParameterBlock, target: Float32Array): Promise<void>;
}

/** Runs of a file that lie no further apart are read in one go. */
const GAP_BYTES = 2 ** 16;
/** Most that is read in one go. */
const SPAN_BYTES = 2 ** 23;

/** States as a checkpoint holds them, under whatever plan they were written. Reads only what is asked for. */
export function storedStates(checkpoint: string, manifest: CheckpointManifest): StateSource {
  const known = new Map<string, { readonly path: string; readonly block: StoredBlock }[]>();
  for (const { name, blocks } of manifest.files) {
    for (const block of blocks) {
      const key = `${block.state} ${block.name}`;
      const same = known.get(key) ?? [];
      same.push({ path: join(checkpoint, name), block });
      known.set(key, same);
    }
  }
  return {
    read: async (state, block, target) => {
      let found = 0;
      for (const stored of known.get(`${state} ${block.name}`) ?? []) {
        const common = intersection(block, stored.block);
        if (!common) continue;
        found += product(common.extent);
        await readRuns(
          stored.path,
          stored.block.offsetBytes,
          [...blockRuns(common, stored.block, block)],
          target,
        );
      }
      if (found !== product(block.extent))
        throw new GalvatronError(
          "CHECKPOINT_INVALID",
          `${checkpoint} holds ${found} of ${product(block.extent)} elements of the ${state} of ${block.name}: it is of another model.`,
          { path: checkpoint, name: block.name },
        );
    },
  };
}

/** Reads runs (in elements, ascending) of a stored block; what lies shortly between two of them is read over. */
async function readRuns(
  path: string,
  offsetBytes: number,
  runs: readonly BlockRun[],
  target: Float32Array,
): Promise<void> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw new GalvatronError("CHECKPOINT_INVALID", `Cannot open ${path}.`, { path }, { cause });
  });
  const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
  /** Reads `[from, from + into.length)` of the block, in bytes. */
  const readInto = async (from: number, into: Uint8Array): Promise<void> => {
    for (let done = 0; done < into.byteLength; ) {
      const { bytesRead } = await file.read(into, done, into.byteLength - done, offsetBytes + from + done);
      if (bytesRead === 0)
        throw new GalvatronError("CHECKPOINT_INVALID", `${path} ends too early: it is truncated.`, { path });
      done += bytesRead;
    }
  };
  try {
    for (let first = 0; first < runs.length; ) {
      const begin = 4 * runs[first]!.from;
      const endOf = (index: number): number => 4 * (runs[index]!.from + runs[index]!.elements);
      let last = first;
      while (
        last + 1 < runs.length &&
        4 * runs[last + 1]!.from - endOf(last) <= GAP_BYTES &&
        endOf(last + 1) - begin <= SPAN_BYTES
      )
        last++;
      if (last === first) {
        const { to, elements } = runs[first]!;
        await readInto(begin, bytes.subarray(4 * to, 4 * (to + elements)));
      } else {
        const span = new Uint8Array(endOf(last) - begin);
        await readInto(begin, span);
        for (const { from, to, elements } of runs.slice(first, last + 1))
          bytes.set(span.subarray(4 * from - begin, 4 * (from + elements) - begin), 4 * to);
      }
      first = last + 1;
    }
  } finally {
    await file.close();
  }
}

/**
 * Reads a file of a checkpoint whole and compares it with the manifest.
 *
 * @throws GalvatronError CHECKPOINT_INVALID
 */
export async function verifyFile(checkpoint: string, expected: CheckpointFile): Promise<void> {
  const path = join(checkpoint, expected.name);
  const hash = createHash("sha256");
  let sizeBytes = 0;
  try {
    const file = await open(path, "r");
    try {
      const piece = new Uint8Array(SPAN_BYTES / 8);
      for (;;) {
        const { bytesRead } = await file.read(piece, 0, piece.byteLength);
        if (bytesRead === 0) break;
        hash.update(piece.subarray(0, bytesRead));
        sizeBytes += bytesRead;
      }
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new GalvatronError("CHECKPOINT_INVALID", `Cannot read ${path}.`, { path }, { cause });
  }
  const sha256 = hash.digest("hex");
  if (sizeBytes === expected.sizeBytes && sha256 === expected.sha256) return;
  throw new GalvatronError(
    "CHECKPOINT_INVALID",
    sizeBytes === expected.sizeBytes
      ? `${path} is corrupted: its SHA-256 is ${sha256}, its manifest says ${expected.sha256}. Resume from another checkpoint.`
      : `${path} has ${sizeBytes} bytes; its manifest says ${expected.sizeBytes}. Resume from another checkpoint.`,
    { path },
  );
}
