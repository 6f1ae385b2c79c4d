import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { CellOutputs } from "./cell-outputs.js";
import { type CodeCell, type Notebook, type NotebookCell, tagsOf } from "./notebook-json.js";

/** How one cell of a run ended. */
export interface CellRun {
  readonly id: string;
  /** Position among the notebook's code cells, from 1. */
  readonly number: number;
  /** "expected-error": the cell is tagged "raises-exception", and did. */
  readonly status: "ok" | "expected-error" | "error" | "skipped";
  readonly durationMs: number;
  readonly error?: { readonly name: string; readonly message: string };
}

/** Told before a cell starts (without `ended`) and after it ends. */
export interface CellProgress {
  readonly number: number;
  readonly total: number;
  /** First line of the cell. */
  readonly title: string;
  readonly ended?: CellRun;
}

export interface ExecuteOptions {
  readonly onProgress?: (progress: CellProgress) => void;
  /** Interrupts the running cell and skips the rest. */
  readonly signal?: AbortSignal;
  /** Goes on after a cell that failed. */
  readonly keepGoing?: boolean;
}

export interface ExecutedCells {
  readonly notebook: Notebook;
  readonly runs: readonly CellRun[];
}

/** Runs a notebook's code cells in order and fills in what they show. */
export async function executeCells(
  notebook: Notebook,
  kernel: Kernel.IKernelConnection,
  options: ExecuteOptions = {},
): Promise<ExecutedCells> {
  const outputs = new CellOutputs();
  const counts = new Map<string, number>();
  const cellOfRequest = new Map<string, string>();
  const onMessage = (_: unknown, message: KernelMessage.IIOPubMessage): void => {
    const request = (message.parent_header as { msg_id?: string }).msg_id ?? "";
    const cell = cellOfRequest.get(request);
    if (cell !== undefined) outputs.accept(cell, message);
    if (cell !== undefined && message.header.msg_type === "execute_input") {
      counts.set(cell, (message.content as { execution_count: number }).execution_count);
    }
  };
  kernel.iopubMessage.connect(onMessage);
  const interrupt = (): void => void kernel.interrupt().catch(() => undefined);
  options.signal?.addEventListener("abort", interrupt);
  try {
    const runs = await runAll(notebook, kernel, options, outputs, cellOfRequest);
    const cells = notebook.cells.map(
      (cell): NotebookCell =>
        cell.kind === "code"
          ? { ...cell, executionCount: counts.get(cell.id) ?? null, outputs: outputs.of(cell.id) }
          : cell,
    );
    return { notebook: { ...notebook, cells }, runs };
  } finally {
    options.signal?.removeEventListener("abort", interrupt);
    kernel.iopubMessage.disconnect(onMessage);
  }
}

async function runAll(
  notebook: Notebook,
  kernel: Kernel.IKernelConnection,
  options: ExecuteOptions,
  outputs: CellOutputs,
  cellOfRequest: Map<string, string>,
): Promise<CellRun[]> {
  const cells = notebook.cells.filter(
    (cell): cell is CodeCell => cell.kind === "code" && cell.source.trim() !== "",
  );
  const runs: CellRun[] = [];
  let stopped = false;
  for (const [index, cell] of cells.entries()) {
    const place = { number: index + 1, total: cells.length, title: titleOf(cell.source) };
    stopped ||= options.signal?.aborted ?? false;
    if (stopped) {
      runs.push({ id: cell.id, number: place.number, status: "skipped", durationMs: 0 });
      continue;
    }
    options.onProgress?.(place);
    const run = await runOne(cell, place.number, kernel, options, (request) => {
      outputs.begin(cell.id);
      cellOfRequest.set(request, cell.id);
    });
    runs.push(run);
    options.onProgress?.({ ...place, ended: run });
    stopped = run.status === "error" && !options.keepGoing && !mayFail(cell);
  }
  return runs;
}

async function runOne(
  cell: CodeCell,
  number: number,
  kernel: Kernel.IKernelConnection,
  options: ExecuteOptions,
  onRequest: (id: string) => void,
): Promise<CellRun> {
  const started = performance.now();
  const ended = (status: CellRun["status"], error?: CellRun["error"]): CellRun => ({
    id: cell.id,
    number,
    status,
    durationMs: Math.round(performance.now() - started),
    ...(error ? { error } : {}),
  });
  try {
    const future = kernel.requestExecute({
      code: cell.source,
      allow_stdin: false,
      stop_on_error: !options.keepGoing && !mayFail(cell),
    });
    onRequest(future.msg.header.msg_id);
    const { content } = await future.done;
    if (content.status === "ok") return ended("ok");
    const { ename = "Aborted", evalue = "" } = content as { ename?: string; evalue?: string };
    return ended(mayFail(cell) ? "expected-error" : "error", { name: ename, message: evalue });
  } catch (error) {
    // The client cancels what it still waited for when its kernel dies.
    const message = `The kernel died while this cell ran (${error instanceof Error ? error.message : String(error)}).`;
    return ended("error", { name: "KernelDied", message });
  }
}

/** A lesson may show an error on purpose; the tag is Jupyter's own. */
function mayFail(cell: CodeCell): boolean {
  return tagsOf(cell).includes("raises-exception");
}

function titleOf(source: string): string {
  const line = source.split("\n").find((text) => text.trim() !== "") ?? "";
  return line.length <= 60 ? line.trim() : `${line.trim().slice(0, 59)}…`;
}
