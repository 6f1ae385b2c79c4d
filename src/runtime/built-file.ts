import { existsSync } from "node:fs";
import { join } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { packageRoot } from "../device/package-root.js";

/**
 * A built program of this room ("worker/main.js"), for a process or thread of its own: beside this file, or in `dist`
 * where sources run untranslated.
 */
export function builtFile(name: string): string {
  const beside = join(__dirname, name);
  if (existsSync(beside)) return beside;
  const built = join(packageRoot(), "dist", "src", "runtime", name);
  if (existsSync(built)) return built;
  throw new GalvatronError("NATIVE_MISSING", `${name} is not built (${built}). Run: npm run build`, {
    path: built,
  });
}
