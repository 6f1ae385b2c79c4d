import type { ModelOptions } from "../model/model-options.js";
import type { ClusterHandle } from "../session/cluster-handle.js";
import type { ModelHandle } from "../session/model-handle.js";
import { SILENT_REPORTER, terminalReporter } from "../session/reporter.js";
import { clusterIn, modelIn } from "../session/sdk.js";
import { newSession, type Session } from "../session/session.js";
import { type FlagValues, neededFlag, textFlag, wholeFlag } from "./args.js";
import type { Terminal } from "./terminal.js";

/** Flags by which a command line names a model; those after the first are its sizes. */
export const MODEL_FLAGS: readonly string[] = [
  "model",
  "layers",
  "hidden",
  "heads",
  "feed-forward",
  "sequence",
  "vocabulary",
];

/** Flags that every verb with a session knows. */
export const SESSION_FLAGS: readonly string[] = ["folder", "ranks"];

/** A session in `--folder`, telling its progress on the terminal unless `--quiet`. */
export function sessionOf(flags: FlagValues, terminal: Terminal): Session {
  return newSession({
    folder: textFlag(flags, "folder") ?? terminal.folder,
    reporter: flags["quiet"] === true ? SILENT_REPORTER : terminalReporter(process.stderr),
  });
}

export function clusterOf(flags: FlagValues, session: Session): ClusterHandle {
  const ranks = wholeFlag(flags, "ranks");
  return clusterIn(session, ranks === undefined ? {} : { ranks });
}

/** @throws GalvatronError ARGUMENT_INVALID, MODEL_UNKNOWN, MODEL_INVALID */
export function modelOf(flags: FlagValues, session: Session): ModelHandle {
  const options: Record<string, number> = {};
  for (const flag of MODEL_FLAGS.slice(1)) {
    const value = wholeFlag(flags, flag);
    if (value !== undefined) options[flag === "feed-forward" ? "feedForward" : flag] = value;
  }
  return modelIn(session, neededFlag(flags, "model", "gpt"), options as ModelOptions);
}
