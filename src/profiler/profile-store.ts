import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonical } from "../base/canonical-json.js";
import { GalvatronError } from "../base/errors.js";

/** Everything a measurement depends on. Two equal keys mean that the profile may be used again. */
export type ProfileKey = Readonly<Record<string, unknown>>;

/** Where profiles lie under a project folder. */
function profileFolder(folder: string): string {
  return join(folder, ".galvatron", "profiles");
}

/** File of a profile: its name is the hash of what it depends on. */
export function profilePath(folder: string, kind: "hardware" | "model", key: ProfileKey): string {
  const hash = createHash("sha256").update(canonical(key)).digest("hex").slice(0, 24);
  return join(profileFolder(folder), `${kind}-${hash}.arrow`);
}

/** Bytes of a stored profile, or null where there is none. */
export function readProfile(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read the profile ${path}. Make it readable, or remove it: then it is measured again.`,
      { path },
      { cause: error },
    );
  }
}

/**
 * Writes a profile so that a crash leaves the old file or the new one.
 * @throws GalvatronError FILE_UNWRITABLE
 */
export function writeProfile(path: string, bytes: Uint8Array): void {
  try {
    mkdirSync(join(path, ".."), { recursive: true });
    const temporary = `${path}.${process.pid}.tmp`;
    writeFileSync(temporary, bytes);
    renameSync(temporary, path);
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNWRITABLE",
      `Cannot write the profile ${path}. Profiles lie beside the nearest package.json, or in --folder: work where that folder can be written.`,
      { path },
      { cause },
    );
  }
}
