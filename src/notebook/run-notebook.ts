import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { GalvatronError } from "../base/errors.js";
import { type CellProgress, type CellRun, executeCells } from "./execute-cells.js";
import { openKernelSession } from "./kernel-session.js";
import { askKernelRecord, type Manifest, manifestOf } from "./manifest.js";
import { type Notebook, notebookText, parseNotebook } from "./notebook-json.js";
import { notebookPage } from "./notebook-page.js";
import { packageFolder } from "./package-folder.js";
import { type Parameters, withParameters } from "./parameters.js";

export interface RunNotebookOptions {
  readonly path: string;
  /** Where the executed notebook goes; nowhere without it. */
  readonly outputPath?: string;
  /** Where the HTML page goes; nowhere without it. */
  readonly htmlPath?: string;
  /** Where the manifest goes; nowhere without it. */
  readonly manifestPath?: string;
  readonly parameters?: Parameters;
  /** Address of a Jupyter server to run on; without it a kernel is started here, with no server. */
  readonly server?: string;
  readonly token?: string;
  readonly kernelName?: string;
  /** Another kernel than ours, started here: a kernelspec's argv. */
  readonly argv?: readonly string[];
  /** Goes on after a cell that failed. */
  readonly keepGoing?: boolean;
  /** Interrupts the running cell and skips the rest. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CellProgress) => void;
}

export interface NotebookResult {
  /** Whether every cell ran without an error. */
  readonly ok: boolean;
  readonly notebook: Notebook;
  readonly cells: readonly CellRun[];
  readonly manifest: Manifest;
}

/**
 * Runs a notebook from top to bottom in a fresh kernel and writes what it came to. A cell that fails does not throw:
 * the files are written with its error, and `ok` is false.
 * @throws GalvatronError NOTEBOOK_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE or KERNEL_FAILED
 */
export async function runNotebook(options: RunNotebookOptions): Promise<NotebookResult> {
  const parameters = options.parameters ?? {};
  const notebook = withParameters(await readNotebook(options.path), parameters);
  const startedAt = new Date();
  const folder = path.dirname(path.resolve(options.path));
  const session = await openKernelSession({ ...options, folder });
  try {
    const executed = await executeCells(notebook, session.kernel, options);
    const record = await askKernelRecord(session.kernel);
    const result = withKernel(executed.notebook, session.info.language_info);
    const manifest = manifestOf({
      file: path.basename(options.path),
      notebook: result,
      parameters,
      package: await ownPackage(),
      place: options.server ?? "embedded",
      info: session.info,
      record,
      startedAt,
      durationMs: Date.now() - startedAt.getTime(),
      runs: executed.runs,
    });
    await writeResults(options, result, manifest);
    const ok = executed.runs.every(({ status }) => status === "ok" || status === "expected-error");
    return { ok, notebook: result, cells: executed.runs, manifest };
  } finally {
    await session.close();
  }
}

/** @throws GalvatronError FILE_UNREADABLE or NOTEBOOK_INVALID */
export async function readNotebook(file: string): Promise<Notebook> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `The notebook ${file} cannot be read: does it exist?`,
      { path: file },
      { cause },
    );
  }
  return parseNotebook(text, file);
}

async function ownPackage(): Promise<{ name: string; version: string }> {
  const text = await readFile(path.join(packageFolder(), "package.json"), "utf8");
  const { name, version } = JSON.parse(text) as { name: string; version: string };
  return { name, version };
}

/** Front ends choose the kernel and the highlighting by this metadata. */
function withKernel(notebook: Notebook, language: object): Notebook {
  const kernelspec = { name: "galvatron", display_name: "Galvatron", language: "typescript" };
  const { metadata } = notebook;
  return { ...notebook, metadata: { ...metadata, kernelspec, language_info: { ...language } } };
}

async function writeResults(
  options: RunNotebookOptions,
  notebook: Notebook,
  manifest: Manifest,
): Promise<void> {
  const { outputPath, htmlPath, manifestPath } = options;
  if (outputPath) await write(outputPath, notebookText(notebook));
  if (htmlPath) await write(htmlPath, notebookPage(notebook, path.basename(options.path, ".ipynb")));
  if (manifestPath) await write(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`);
}

async function write(file: string, text: string): Promise<void> {
  try {
    await mkdir(path.dirname(path.resolve(file)), { recursive: true });
    await writeFile(file, text);
  } catch (cause) {
    throw new GalvatronError("FILE_UNWRITABLE", `${file} cannot be written.`, { path: file }, { cause });
  }
}
