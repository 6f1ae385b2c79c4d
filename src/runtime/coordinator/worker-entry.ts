import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { GalvatronError } from "../../base/errors.js";

/** Loads {@link file://../worker/main.ts}, built: beside this file, or in `dist` where sources run untranslated. */
export function workerEntry(): string {
  const beside = join(__dirname, "..", "worker", "main.js");
  if (existsSync(beside)) return beside;
  const root = dirname(dirname(dirname(__dirname)));
  const built = join(root, "dist", "src", "runtime", "worker", "main.js");
  if (existsSync(built)) return built;
  throw new GalvatronError(
    "NATIVE_MISSING",
    `The worker program is not built (${built}). Run: npm run build`,
    {
      path: built,
    },
  );
}
