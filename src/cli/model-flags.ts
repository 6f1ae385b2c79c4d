import { GalvatronError } from "../base/errors.js";
import type { ModelOptions } from "../model/model-options.js";
import type { ClusterHandle } from "../session/cluster-handle.js";
import type { ModelHandle } from "../session/model-handle.js";
import { SILENT_REPORTER, terminalReporter } from "../session/reporter.js";
import { clusterIn, modelIn, presetCluster } from "../session/sdk.js";
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

/** Flags by which a command line names a machine that is planned for. */
export const MACHINE_FLAGS: readonly string[] = ["machine", "nodes", "gpus-per-node"];

/**
 * The machine of `--machine dgx-a100-80gb --nodes 4` by its published figures, or else this one, profiled.
 * @throws GalvatronError ARGUMENT_INVALID
 */
export async function machineOf(flags: FlagValues, session: Session): Promise<ClusterHandle> {
  const name = textFlag(flags, "machine");
  const nodes = wholeFlag(flags, "nodes");
  const ranksPerNode = wholeFlag(flags, "gpus-per-node");
  if (name === undefined) {
    for (const flag of MACHINE_FLAGS)
      if (flags[flag] !== undefined)
        throw new GalvatronError("ARGUMENT_INVALID", `--${flag} goes with --machine NAME.`, { flag });
    return clusterOf(flags, session).profile();
  }
  if (flags["ranks"] !== undefined)
    throw new GalvatronError("ARGUMENT_INVALID", "--ranks is of this machine: leave it out with --machine.");
  return presetCluster(session, name, {
    ...(nodes !== undefined && { nodes }),
    ...(ranksPerNode !== undefined && { ranksPerNode }),
  });
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
