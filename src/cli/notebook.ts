import path from "node:path";
import { GalvatronError } from "../base/errors.js";
import { checkNotebook } from "../notebook/check-notebook.js";
import type { CellProgress, CellRun } from "../notebook/execute-cells.js";
import type { Parameters, ParameterValue } from "../notebook/parameters.js";
import { type RunNotebookOptions, runNotebook } from "../notebook/run-notebook.js";
import { type FlagValues, readArguments, textFlag } from "./args.js";
import { type Command, printJson, type Terminal } from "./terminal.js";

/**
 * `galvatron notebook run FILE` executes a notebook and writes it, an HTML page and a manifest;
 * `galvatron notebook check FILE…` executes it again and tells what changed.
 */
export const notebookCommand: Command = async (args, terminal) => {
  const { flags, words } = readArguments(args, {
    words: true,
    values: ["server", "token", "kernel", "output", "html", "manifest", "parameters"],
    switches: ["keep-going", "in-place", "json", "quiet"],
  });
  const [verb, ...files] = words;
  if ((verb !== "run" && verb !== "check") || files.length === 0) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected "galvatron notebook run FILE [name=value …]" or "galvatron notebook check FILE…", got "${words.join(" ")}".`,
    );
  }
  return verb === "run" ? await run(files, flags, terminal) : await check(files, flags, terminal);
};

async function run(words: readonly string[], flags: FlagValues, terminal: Terminal): Promise<number> {
  const [file, ...assignments] = words;
  const source = path.resolve(terminal.folder, file!);
  const stem = source.replace(/\.ipynb$/, "");
  const place = (flag: string, otherwise: string): string =>
    path.resolve(terminal.folder, textFlag(flags, flag) ?? otherwise);
  const outputPath = flags["in-place"] ? source : place("output", `${stem}.executed.ipynb`);
  // What a run leaves lies together, wherever the notebook itself is.
  const beside = flags["in-place"] || !textFlag(flags, "output") ? stem : outputPath.replace(/\.ipynb$/, "");
  const outputs = {
    outputPath,
    htmlPath: place("html", `${beside}.html`),
    manifestPath: place("manifest", `${beside}.manifest.json`),
  };
  const parameters = { ...parametersFile(flags), ...parametersOf(assignments) };
  const result = await runNotebook({ ...commonOptions(source, flags, terminal), ...outputs, parameters });
  if (flags.json) printJson(terminal, { ok: result.ok, ...outputs, manifest: result.manifest });
  else
    terminal.out(
      `${summary(result.cells)}\n${Object.values(outputs)
        .map((name) => `  ${name}\n`)
        .join("")}`,
    );
  return result.ok ? 0 : 1;
}

async function check(files: readonly string[], flags: FlagValues, terminal: Terminal): Promise<number> {
  const results = [];
  for (const file of files) {
    const source = path.resolve(terminal.folder, file);
    const result = await checkNotebook(commonOptions(source, flags, terminal));
    results.push({ file, ...result });
    if (flags.json) continue;
    terminal.out(`${file}: ${summary(result.cells)}, ${result.changes.length} changed\n`);
    for (const { number, what, stored, now } of result.changes) {
      terminal.out(`  cell ${number}, ${what}\n    held: ${stored}\n    now:  ${now}\n`);
    }
  }
  const ok = results.every((result) => result.ok);
  const passed = results.filter((result) => result.ok).length;
  if (flags.json) printJson(terminal, { ok, notebooks: results });
  else terminal.out(`${passed} passed, ${results.length - passed} failed, 0 skipped\n`);
  return ok ? 0 : 1;
}

function commonOptions(source: string, flags: FlagValues, terminal: Terminal): RunNotebookOptions {
  const controller = new AbortController();
  terminal.onInterrupt(() => controller.abort());
  const [server, token, kernelName] = [
    textFlag(flags, "server"),
    textFlag(flags, "token"),
    textFlag(flags, "kernel"),
  ];
  return {
    path: source,
    signal: controller.signal,
    keepGoing: flags["keep-going"] === true,
    ...(server !== undefined && { server }),
    ...(token !== undefined && { token }),
    ...(kernelName !== undefined && { kernelName }),
    ...(flags.quiet ? {} : { onProgress: (progress: CellProgress) => tell(progress, terminal) }),
  };
}

function tell({ number, total, title, ended }: CellProgress, terminal: Terminal): void {
  const place = `[${String(number).padStart(String(total).length)}/${total}]`;
  if (!ended) terminal.error(`${place} ${title}`);
  else {
    const trouble =
      ended.error && ended.status === "error" ? `\n      ${ended.error.name}: ${ended.error.message}` : "";
    terminal.error(`  ${ended.status}, ${(ended.durationMs / 1000).toFixed(1)} s${trouble}\n`);
  }
}

function summary(cells: readonly CellRun[]): string {
  const count = (status: CellRun["status"]): number => cells.filter((cell) => cell.status === status).length;
  const passed = count("ok") + count("expected-error");
  const parts = [`${passed} of ${cells.length} cells ran`];
  if (count("error") > 0) parts.push(`${count("error")} failed`);
  if (count("skipped") > 0) parts.push(`${count("skipped")} skipped`);
  return parts.join(", ");
}

/** `--parameters '{"steps": 5}'` */
function parametersFile(flags: FlagValues): Parameters {
  const text = textFlag(flags, "parameters");
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Parameters;
  } catch {
    // told below, with what was expected
  }
  throw new GalvatronError("ARGUMENT_INVALID", `--parameters expects a JSON object, got "${text}".`);
}

/** `steps=5 name=x`: a value that is JSON is that value, any other is text. */
function parametersOf(words: readonly string[]): Parameters {
  return Object.fromEntries(
    words.map((word): [string, ParameterValue] => {
      const at = word.indexOf("=");
      if (at < 1)
        throw new GalvatronError("ARGUMENT_INVALID", `Expected a parameter as name=value, got "${word}".`);
      const text = word.slice(at + 1);
      try {
        return [word.slice(0, at), JSON.parse(text) as ParameterValue];
      } catch {
        return [word.slice(0, at), text];
      }
    }),
  );
}
