import { inspect } from "node:util";
import { isGalvatronError } from "../base/errors.js";
import type { Figure } from "../display/figure.js";
import { type Cell, htmlTable, textTable } from "../display/html-table.js";
import { DISPLAY, type Displayable, type MimeBundle } from "../display/mime.js";
import { plotBundle } from "../display/plot-bundle.js";
import { figureToSvg } from "../display/svg.js";

/** Records with more columns than this are read better as text. */
const MAX_COLUMNS = 40;
const ARROW_ROWS = 31;

/**
 * What a notebook shows for any value: the value's own display first, then tables, figures and records in rich
 * form, and the text that node would print for everything else.
 */
export async function present(value: unknown): Promise<MimeBundle> {
  if (isDisplayable(value)) {
    // The type says that a bundle comes at once; values of users may take their time, as in Deno.
    const bundle = await Promise.resolve(value[DISPLAY]());
    const isEmpty = Object.keys(bundle).length === 0;
    return isEmpty || "text/plain" in bundle ? bundle : { ...bundle, "text/plain": plainText(value) };
  }
  return presentPlain(value);
}

/** The same, for values that are drawn where nothing can be awaited. */
export function presentPlain(value: unknown): MimeBundle {
  if (isDisplayable(value)) return value[DISPLAY]();
  if (isBundle(value)) return value;
  if (isGalvatronError(value)) return { "text/plain": errorText(value) };
  if (isArrowTable(value)) return arrowBundle(value);
  if (isFigure(value)) return figureBundle(value);
  if (isRecords(value)) return recordsBundle(value);
  return { "text/plain": plainText(value) };
}

function plainText(value: unknown): string {
  return inspect(value, { depth: 4, maxArrayLength: 100, maxStringLength: 100_000, breakLength: 100 });
}

function errorText(error: Error): string {
  return `${error.name}: ${error.message}`;
}

function isDisplayable(value: unknown): value is Displayable {
  return isObjectLike(value) && typeof (value as Partial<Displayable>)[DISPLAY] === "function";
}

function isObjectLike(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** A bundle given as it is: every key a MIME type. */
function isBundle(value: unknown): value is MimeBundle {
  if (!isPlainObject(value)) return false;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => /^(text|image|application|video|audio)\/[\w.+-]+$/.test(key));
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === null ||
    prototype === Object.prototype ||
    Object.getPrototypeOf(prototype as object) === null
  );
}

/** What we use of an Arrow table, whichever copy of the library made it. */
interface ArrowTable {
  readonly numRows: number;
  readonly numCols: number;
  readonly schema: { readonly fields: readonly { readonly name: string; readonly type: unknown }[] };
  get(index: number): Readonly<Record<string, unknown>> | null;
}

function isArrowTable(value: unknown): value is ArrowTable {
  if (!isObjectLike(value)) return false;
  const table = value as Partial<ArrowTable>;
  return (
    typeof table.numRows === "number" &&
    typeof table.get === "function" &&
    Array.isArray((table.schema as { fields?: unknown } | undefined)?.fields)
  );
}

function arrowBundle(table: ArrowTable): MimeBundle {
  const columns = table.schema.fields.map((field) => field.name);
  const rows = Array.from({ length: Math.min(table.numRows, ARROW_ROWS) }, (_, index) => {
    const row = table.get(index);
    return columns.map((column) => cellOf(row?.[column]));
  });
  const size = `${table.numRows} rows × ${table.numCols} columns`;
  const types = table.schema.fields.map((field) => `${field.name}: ${String(field.type)}`).join(", ");
  const shown = rows.slice(0, 30);
  const cut = table.numRows > shown.length ? `\n… and ${table.numRows - shown.length} more rows` : "";
  return {
    "text/html": `${htmlTable(columns, shown, `${size} (${types})`)}${cut ? `<p>${cut.trim()}</p>` : ""}`,
    "text/plain": `${textTable(columns, shown)}${cut}\n${size}`,
  };
}

function isFigure(value: unknown): value is Figure {
  if (!isPlainObject(value)) return false;
  const { data, layout } = value;
  return (
    Array.isArray(data) &&
    isPlainObject(layout) &&
    data.every(
      (trace) => isPlainObject(trace) && ("type" in trace || "x" in trace || "y" in trace || "z" in trace),
    )
  );
}

function figureBundle(figure: Figure): MimeBundle {
  return plotBundle(figure, pictureOf(figure));
}

/** Our renderer knows the traces of our own figures; any other plotly figure is drawn by plotly alone. */
function pictureOf(figure: Figure): string {
  try {
    return figureToSvg(figure);
  } catch {
    return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 40" width="760" height="40"><text x="12" y="24" font-family="system-ui,sans-serif" font-size="12" fill="#767676">This figure has no static picture: open the notebook in JupyterLab to see it.</text></svg>';
  }
}

function isRecords(value: unknown): value is readonly Record<string, unknown>[] {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isPlainObject)) return false;
  const columns = columnsOf(value).length;
  return columns > 0 && columns <= MAX_COLUMNS;
}

function columnsOf(records: readonly Record<string, unknown>[]): string[] {
  return [...new Set(records.flatMap((record) => Object.keys(record)))];
}

function recordsBundle(records: readonly Record<string, unknown>[]): MimeBundle {
  const columns = columnsOf(records);
  const rows = records.map((record) => columns.map((column) => cellOf(record[column])));
  return { "text/html": htmlTable(columns, rows), "text/plain": textTable(columns, rows) };
}

function cellOf(value: unknown): Cell {
  if (value === null || typeof value === "object" || typeof value === "function") {
    return value === null ? null : inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY });
  }
  return typeof value === "symbol" ? value.toString() : (value as Cell);
}
