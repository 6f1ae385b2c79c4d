import { GalvatronError } from "../../../base/errors.js";
import type { NativeMappedFile } from "../../../device/addon.js";
import { loadAddon } from "../../../device/load-addon.js";
import type { DataFile } from "../dataset.js";

/** Files that one rank keeps mapped at a time. */
const MAX_FILES = 64;
/** A read may bring in so many bytes of pages around it. */
const PAGES_AROUND_BYTES = 64 * 1024;
/** Pages that may stay in memory between samples. */
const MAX_RESIDENT_BYTES = 4 * 1024 * 1024;

/** Files mapped for reading, as many as are allowed at a time. Close it. */
export class MappedFiles {
  private readonly files = new Map<string, NativeMappedFile>();
  private residentBytes = 0;

  /**
   * Copies bytes of a file, from `start` on, into all of `target`.
   * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID when the file is not what it was when the run was planned
   */
  read(file: DataFile, start: number, target: Uint8Array): void {
    this.mapped(file).read(start, target);
    this.residentBytes += target.length + PAGES_AROUND_BYTES;
    if (this.residentBytes < MAX_RESIDENT_BYTES) return;
    for (const each of this.files.values()) each.release();
    this.residentBytes = 0;
  }

  close(): void {
    for (const file of this.files.values()) file.close();
    this.files.clear();
  }

  private mapped({ path, sizeBytes }: DataFile): NativeMappedFile {
    const known = this.files.get(path);
    const file = known ?? new (loadAddon().MappedFile)(path);
    // Another file under the name would be read in silence, at places that mean something else in it.
    if (!known && file.sizeBytes !== sizeBytes) {
      const found = file.sizeBytes;
      file.close();
      throw new GalvatronError(
        "DATA_INVALID",
        `${path} has ${found} bytes; it had ${sizeBytes} when the run was planned. Leave data alone while a run reads it.`,
        { path, sizeBytes, foundBytes: found },
      );
    }
    this.files.delete(path);
    this.files.set(path, file); // most recently used stands last
    if (this.files.size > MAX_FILES) {
      const [oldest, old] = this.files.entries().next().value!;
      this.files.delete(oldest);
      old.close();
    }
    return file;
  }
}
