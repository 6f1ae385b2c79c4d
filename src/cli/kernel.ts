import { GalvatronError } from "../base/errors.js";
import { installKernel, type KernelPlace, uninstallKernel } from "../notebook/install-kernel.js";
import { type FlagValues, readArguments, textFlag } from "./args.js";
import { type Command, printJson } from "./terminal.js";

/** `galvatron kernel install|uninstall [--user|--sys-prefix|--prefix DIR]`: puts the kernel where Jupyter finds it. */
export const kernelCommand: Command = async (args, terminal) => {
  const { flags, words } = readArguments(args, {
    words: true,
    values: ["prefix"],
    switches: ["user", "sys-prefix", "json"],
  });
  const place = placeOf(flags);
  const [verb] = words;
  if (verb === "install") {
    const folder = installKernel(place);
    terminal.out(
      `The Galvatron kernel is installed in ${folder}.\nStart "jupyter lab" and pick "Galvatron".\n`,
    );
    return 0;
  }
  if (verb === "uninstall") {
    const folder = uninstallKernel(place);
    if (flags.json) printJson(terminal, { folder: folder ?? null });
    else terminal.out(folder ? `Removed ${folder}.\n` : "No Galvatron kernel is installed there.\n");
    return folder ? 0 : 1;
  }
  throw new GalvatronError(
    "ARGUMENT_INVALID",
    `Expected "galvatron kernel install" or "galvatron kernel uninstall", got "${verb ?? ""}".`,
  );
};

function placeOf(flags: FlagValues): KernelPlace {
  const prefix = textFlag(flags, "prefix");
  const chosen = [flags.user, flags["sys-prefix"], prefix !== undefined].filter(Boolean).length;
  if (chosen > 1) {
    throw new GalvatronError("ARGUMENT_INVALID", "Choose one of --user, --sys-prefix and --prefix.");
  }
  if (prefix !== undefined) return { kind: "prefix", prefix };
  return flags["sys-prefix"] ? { kind: "sys-prefix" } : { kind: "user" };
}
