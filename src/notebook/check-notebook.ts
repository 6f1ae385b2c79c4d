import { compareOutputs, type OutputChange } from "./compare-outputs.js";
import type { CellRun } from "./execute-cells.js";
import { type RunNotebookOptions, readNotebook, runNotebook } from "./run-notebook.js";
import { toleranceOf } from "./tolerance.js";

export type CheckNotebookOptions = Omit<RunNotebookOptions, "parameters" | "outputPath">;

export interface NotebookCheck {
  /** Whether the notebook ran and shows what it showed. */
  readonly ok: boolean;
  readonly changes: readonly OutputChange[];
  readonly cells: readonly CellRun[];
}

/**
 * Runs a notebook again and compares what it shows with what it holds: numbers in cells tagged "measured" by range,
 * all else exactly. The file is left as it is.
 * @throws GalvatronError as runNotebook, and NOTEBOOK_INVALID for a range that cannot be read
 */
export async function checkNotebook(options: CheckNotebookOptions): Promise<NotebookCheck> {
  const stored = await readNotebook(options.path);
  for (const cell of stored.cells) if (cell.kind === "code") toleranceOf(cell); // told before anything runs
  const result = await runNotebook(options);
  const changes = compareOutputs(stored, result.notebook);
  return { ok: result.ok && changes.length === 0, changes, cells: result.cells };
}
