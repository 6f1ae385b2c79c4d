import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { GalvatronError } from "../../base/errors.js";
import { product } from "../../program/flat-layout.js";
import { blockRuns, intersection, type ParameterBlock, type StateKind } from "../../program/state-blocks.js";
import { readRuns } from "../weights/read-runs.js";
import type { CheckpointFile, CheckpointManifest, StoredBlock } from "./manifest-json.js";

/** Where the states of a fresh rank come from, block by block. */
export interface StateSource {
  /** Fills `target` with the elements of a block, row-major. */
  read(state: StateKind, block: ParameterBlock, target: Float32Array): Promise<void>;
}

/** Piece of a file that is hashed at once. */
const PIECE_BYTES = 2 ** 20;

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
          "F32",
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
      const piece = new Uint8Array(PIECE_BYTES);
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
