import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { threadId } from "node:worker_threads";
import { GalvatronError } from "../../../base/errors.js";
import type { DataFile } from "../dataset.js";

/** Path, without ending, of what was prepared from some files in some way: equal inputs, equal path. */
export function preparedPath(folder: string, files: readonly DataFile[], how: readonly string[]): string {
  const hash = createHash("sha256").update(JSON.stringify(how));
  for (const { path, sizeBytes } of files)
    hash.update(JSON.stringify([path, sizeBytes, statSync(path).mtimeMs]));
  return join(preparedFolder(folder), hash.digest("hex").slice(0, 24));
}

export function preparedFolder(folder: string): string {
  return join(folder, ".galvatron", "data");
}

/** How the names of files end that a thread of this process is still writing. */
export function temporaryEnding(thread: number): string {
  return `.${process.pid}-${thread}.tmp`;
}

/** A file that appears under its name only when it is whole. Ends in `finish` or `discard`. */
export interface NewFile {
  write(bytes: Uint8Array): void;
  /** @param head - written over the first bytes */
  finish(head?: Uint8Array): void;
  discard(): void;
}

const BUFFER_BYTES = 2 ** 20;

/** @throws GalvatronError FILE_UNWRITABLE, also from the functions of what it returns */
export function newFile(path: string): NewFile {
  const temporary = `${path}${temporaryEnding(threadId)}`;
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw new GalvatronError(
        "FILE_UNWRITABLE",
        `Cannot write ${temporary}. Prepared data lies in .galvatron/data beside the nearest package.json, or in --folder: work where that folder can be written.`,
        { path },
        { cause },
      );
    }
  };
  const file = guarded(() => {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(temporary, "w");
  });
  const buffer = Buffer.alloc(BUFFER_BYTES);
  let held = 0;
  let open = true;
  const flush = (): void => {
    for (let written = 0; written < held; ) written += writeSync(file, buffer, written, held - written);
    held = 0;
  };
  return {
    write: (bytes) =>
      guarded(() => {
        for (let from = 0; from < bytes.length; ) {
          const part = bytes.subarray(from, from + BUFFER_BYTES - held);
          buffer.set(part, held);
          held += part.length;
          from += part.length;
          if (held === BUFFER_BYTES) flush();
        }
      }),
    finish: (head) =>
      guarded(() => {
        flush();
        if (head) writeSync(file, head, 0, head.length, 0);
        closeSync(file);
        open = false;
        renameSync(temporary, path);
      }),
    discard: () => {
      if (open) closeSync(file);
      open = false;
      rmSync(temporary, { force: true });
    },
  };
}
