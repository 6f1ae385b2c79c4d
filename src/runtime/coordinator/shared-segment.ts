import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const PREFIX = "galvatron-";
/** Where Linux shows shared memory by name. */
const FOLDER = "/dev/shm";

let made = 0;

/** A name for a new segment that tells whose it is: `/galvatron-<pid>-<n>`. */
export function segmentName(): string {
  made++;
  return `/${PREFIX}${process.pid}-${made}`;
}

/** Removes segments whose coordinator died between creating and unlinking them. */
export function removeStaleSegments(): void {
  let names: readonly string[];
  try {
    names = readdirSync(FOLDER);
  } catch {
    return; // no such folder on this system: nothing to sweep
  }
  for (const name of names) {
    const owner = new RegExp(`^${PREFIX}(\\d+)-\\d+$`).exec(name);
    if (owner && !isAlive(Number(owner[1]))) rmSync(join(FOLDER, name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
