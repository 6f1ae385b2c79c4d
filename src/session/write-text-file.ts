import { writeFileSync } from "node:fs";
import { GalvatronError } from "../base/errors.js";

/**
 * @param what - that is written, for the error: "the plan"
 * @throws GalvatronError FILE_UNWRITABLE
 */
export function writeTextFile(path: string, what: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNWRITABLE",
      `Cannot write ${what} to ${path}. Choose a folder that exists and can be written.`,
      { path },
      { cause },
    );
  }
}
