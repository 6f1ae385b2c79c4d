import { writeFileSync } from "node:fs";
import { GalvatronError } from "../base/errors.js";
import { chromeTrace } from "../display/chrome-trace.js";
import type { Timeline } from "../program/timeline.js";

/** @throws GalvatronError FILE_UNWRITABLE */
export function writeTrace(path: string, timelines: readonly Timeline[]): void {
  try {
    writeFileSync(path, JSON.stringify(chromeTrace(...timelines)));
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNWRITABLE",
      `Cannot write the trace to ${path}. Choose a folder that exists and can be written.`,
      { path },
      { cause },
    );
  }
}
