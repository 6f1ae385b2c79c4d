import { createHash } from "node:crypto";
import { z } from "zod";
import { GalvatronError } from "../base/errors.js";

/** A notebook in memory: nbformat 4.5 with every text joined to one string. */
export interface Notebook {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly cells: readonly NotebookCell[];
}

export type NotebookCell = CodeCell | TextCell;

interface CellBase {
  readonly id: string;
  readonly source: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

interface TextCell extends CellBase {
  readonly kind: "markdown" | "raw";
  readonly attachments?: Readonly<Record<string, unknown>>;
}

export interface CodeCell extends CellBase {
  readonly kind: "code";
  readonly executionCount: number | null;
  readonly outputs: readonly CellOutput[];
}

export type MimeData = Readonly<Record<string, unknown>>;

export type CellOutput =
  | { readonly kind: "stream"; readonly name: string; readonly text: string }
  | { readonly kind: "display"; readonly data: MimeData; readonly metadata: MimeData }
  | {
      readonly kind: "result";
      readonly executionCount: number | null;
      readonly data: MimeData;
      readonly metadata: MimeData;
    }
  | {
      readonly kind: "error";
      readonly ename: string;
      readonly evalue: string;
      readonly traceback: readonly string[];
    };

const record = z.record(z.string(), z.unknown());
const lines = z.union([z.string(), z.array(z.string()).transform((parts) => parts.join(""))]);
const count = z.number().int().nullable();

/** MIME types whose data is text in lines; every other is JSON and stays as it is. */
const mimeData = record.transform((data) =>
  Object.fromEntries(
    Object.entries(data).map(([type, value]) => [
      type,
      isTextType(type) && Array.isArray(value) ? value.join("") : value,
    ]),
  ),
);

const output = z.discriminatedUnion("output_type", [
  z.object({ output_type: z.literal("stream"), name: z.string(), text: lines }),
  z.object({ output_type: z.literal("display_data"), data: mimeData, metadata: record.default({}) }),
  z.object({
    output_type: z.literal("execute_result"),
    execution_count: count,
    data: mimeData,
    metadata: record.default({}),
  }),
  z.object({
    output_type: z.literal("error"),
    ename: z.string(),
    evalue: z.string(),
    traceback: z.array(z.string()),
  }),
]);

const common = { id: z.string().optional(), source: lines, metadata: record.default({}) };

const notebookSchema = z.object({
  nbformat: z.literal(4),
  nbformat_minor: z.number().int(),
  metadata: record,
  cells: z.array(
    z.discriminatedUnion("cell_type", [
      z.object({ ...common, cell_type: z.literal("markdown"), attachments: record.optional() }),
      z.object({ ...common, cell_type: z.literal("raw"), attachments: record.optional() }),
      z.object({
        ...common,
        cell_type: z.literal("code"),
        execution_count: count.default(null),
        outputs: z.array(output).default([]),
      }),
    ]),
  ),
});

type ParsedOutput = z.infer<typeof output>;
type ParsedCell = z.infer<typeof notebookSchema>["cells"][number];

/** @throws GalvatronError NOTEBOOK_INVALID when the text is no notebook of nbformat 4. */
export function parseNotebook(text: string, path: string): Notebook {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new GalvatronError("NOTEBOOK_INVALID", `${path} is not JSON.`, { path }, { cause });
  }
  const parsed = notebookSchema.safeParse(value);
  if (!parsed.success) {
    throw new GalvatronError(
      "NOTEBOOK_INVALID",
      `${path} is no notebook of nbformat 4: ${z.prettifyError(parsed.error)}`,
      { path },
    );
  }
  return { metadata: parsed.data.metadata, cells: parsed.data.cells.map(readCell) };
}

function readCell(cell: ParsedCell, index: number): NotebookCell {
  const { source, metadata } = cell;
  const id = cell.id ?? stableId(index, source);
  if (cell.cell_type !== "code") {
    const { attachments } = cell;
    return { kind: cell.cell_type, id, source, metadata, ...(attachments ? { attachments } : {}) };
  }
  return {
    kind: "code",
    id,
    source,
    metadata,
    executionCount: cell.execution_count,
    outputs: cell.outputs.map(readOutput),
  };
}

function readOutput(from: ParsedOutput): CellOutput {
  switch (from.output_type) {
    case "stream":
      return { kind: "stream", name: from.name, text: from.text };
    case "display_data":
      return { kind: "display", data: from.data, metadata: from.metadata };
    case "execute_result":
      return {
        kind: "result",
        executionCount: from.execution_count,
        data: from.data,
        metadata: from.metadata,
      };
    case "error":
      return { kind: "error", ename: from.ename, evalue: from.evalue, traceback: from.traceback };
  }
}

/** Older notebooks have no cell ids; the same notebook always gets the same ones. */
function stableId(index: number, source: string): string {
  return `${index}-${createHash("sha256").update(source).digest("hex").slice(0, 8)}`;
}

/** The file as Jupyter writes it: nbformat 4.5, one line of text per array entry, sorted keys, one space of indent. */
export function notebookText(notebook: Notebook): string {
  const value = {
    cells: notebook.cells.map(writeCell),
    metadata: notebook.metadata,
    nbformat: 4,
    nbformat_minor: 5,
  };
  return `${JSON.stringify(sorted(value), null, 1)}\n`;
}

function writeCell(cell: NotebookCell): object {
  const { id, metadata } = cell;
  const source = splitLines(cell.source);
  if (cell.kind !== "code") {
    const { attachments } = cell;
    return { cell_type: cell.kind, id, metadata, source, ...(attachments ? { attachments } : {}) };
  }
  return {
    cell_type: "code",
    execution_count: cell.executionCount,
    id,
    metadata,
    outputs: cell.outputs.map(writeOutput),
    source,
  };
}

function writeOutput(from: CellOutput): object {
  switch (from.kind) {
    case "stream":
      return { output_type: "stream", name: from.name, text: splitLines(from.text) };
    case "display":
      return { output_type: "display_data", data: writeData(from.data), metadata: from.metadata };
    case "result":
      return {
        output_type: "execute_result",
        execution_count: from.executionCount,
        data: writeData(from.data),
        metadata: from.metadata,
      };
    case "error":
      return {
        output_type: "error",
        ename: from.ename,
        evalue: from.evalue,
        traceback: from.traceback,
      };
  }
}

function writeData(data: MimeData): object {
  return Object.fromEntries(
    Object.entries(data).map(([type, value]) => [
      type,
      isTextType(type) && typeof value === "string" ? splitLines(value) : value,
    ]),
  );
}

function isTextType(type: string): boolean {
  return type.startsWith("text/") || type === "image/svg+xml" || type === "application/javascript";
}

function splitLines(text: string): string[] {
  return text === "" ? [] : text.split(/(?<=\n)/);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([key, entry]) => [key, sorted(entry)]));
}

/** Tags that an author gave a cell. */
export function tagsOf(cell: NotebookCell): readonly string[] {
  const { tags } = cell.metadata;
  return Array.isArray(tags) ? tags.map(String) : [];
}
