import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { unwritable } from "./checkpoint-folder.js";

/** What one rank writes into a checkpoint. */
export interface ShardJob {
  readonly path: string;
  /** The file's beginning; the tensors' parts follow it one after another. */
  readonly header: Uint8Array;
  /** Runs of float32 elements of tensors; all of one tensor stand together. */
  readonly parts: readonly { readonly tensor: number; readonly offset: number; readonly elements: number }[];
  /** Memory that copies may take while they wait to be written; training waits when it is used up. */
  readonly copyBytes: number;
}

/** The file as it lies on the disk. */
export interface WrittenShard {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly writeMs: number;
}

/** A shard under way. */
export interface ShardWriting {
  /** Settles when all is copied and training may go on; the time that took, in ms. */
  readonly copied: Promise<number>;
  /** Settles when the file is on the disk. */
  readonly written: Promise<WrittenShard>;
}

/** Piece that is hashed and written at once: short enough that steps are not held up. */
const PIECE_BYTES = 2 ** 20;
/** Copies are memory outside of JavaScript's heap, of which its collector knows little: it is called after so many. */
const COLLECT_BYTES = 2 ** 26;

/**
 * Copies a rank's states and writes them, hashes them and brings them to the disk while training goes on.
 *
 * @param read - a tensor's bytes; not called after `copied` has settled
 */
export function writeShard(read: (tensor: number) => Promise<Uint8Array>, job: ShardJob): ShardWriting {
  const start = performance.now();
  const hash = createHash("sha256");
  let file: FileHandle | null = null;
  let sizeBytes = 0;
  let waitingBytes = 0;
  let uncollectedBytes = 0;

  const append = async (bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      hash.update(piece);
      for (let done = 0; done < piece.byteLength; )
        done += (await file!.write(piece, done, piece.byteLength - done)).bytesWritten;
      sizeBytes += piece.byteLength;
    }
  };

  /** Writes stand in a row: each begins when the one before has ended. */
  let tail: Promise<void> = open(job.path, "wx").then((opened) => {
    file = opened;
    return append(job.header);
  });
  tail.catch(() => {}); // told by whoever awaits the end

  const copy = async (): Promise<number> => {
    for (let first = 0; first < job.parts.length; ) {
      const { tensor } = job.parts[first]!;
      let end = first;
      while (end < job.parts.length && job.parts[end]!.tensor === tensor) end++;
      const parts = job.parts.slice(first, end);
      const last = parts.at(-1)!;
      if (waitingBytes > 0 && waitingBytes + 4 * (last.offset + last.elements) > job.copyBytes) {
        await tail;
        globalThis.gc?.();
      }
      const bytes = await read(tensor);
      waitingBytes += bytes.byteLength;
      tail = tail.then(async () => {
        for (const { offset, elements } of parts)
          await append(bytes.subarray(4 * offset, 4 * (offset + elements)));
        waitingBytes -= bytes.byteLength;
        uncollectedBytes += bytes.byteLength;
        if (uncollectedBytes < COLLECT_BYTES) return;
        uncollectedBytes = 0;
        globalThis.gc?.();
      });
      tail.catch(() => {});
      first = end;
    }
    return performance.now() - start;
  };

  const finish = async (): Promise<WrittenShard> => {
    try {
      await copied;
      await tail;
      await file!.sync();
    } finally {
      await file?.close();
    }
    globalThis.gc?.();
    return { sizeBytes, sha256: hash.digest("hex"), writeMs: performance.now() - start };
  };
  /** What the system says of a disk, in words; errors of the device as they are. */
  const inWords = (cause: unknown): never => {
    throw cause instanceof Error && "syscall" in cause ? unwritable(job.path, cause) : cause;
  };

  const copied = copy().catch(inWords);
  const written = finish().catch(inWords);
  written.catch(() => {});
  return { copied, written };
}
