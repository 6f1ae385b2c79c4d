import { escapeXml } from "./svg.js";

/** A cell of a table. */
export type Cell = string | number | boolean | bigint | null | undefined;

/** Rows that a table shows before it says how many more there are. */
const MAX_ROWS = 30;

/** Records as an HTML table, safe to show: everything is escaped. */
export function htmlTable(
  columns: readonly string[],
  rows: readonly (readonly Cell[])[],
  caption = "",
): string {
  const head = columns.map((c) => `<th style="text-align:left">${escapeXml(c)}</th>`).join("");
  const shown = rows.slice(0, MAX_ROWS);
  const body = shown
    .map(
      (row) =>
        `<tr>${row.map((cell) => `<td style="text-align:${typeof cell === "number" ? "right" : "left"}">${escapeXml(cellText(cell))}</td>`).join("")}</tr>`,
    )
    .join("");
  const more = rows.length > shown.length ? `<p>… and ${rows.length - shown.length} more rows</p>` : "";
  const title = caption
    ? `<caption style="caption-side:top;text-align:left">${escapeXml(caption)}</caption>`
    : "";
  return `<table>${title}<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>${more}`;
}

/** The same as aligned text, for terminals. */
export function textTable(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const all = [columns, ...rows.slice(0, MAX_ROWS).map((row) => row.map(cellText))];
  const widths = columns.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  const lines = all.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((w) => "─".repeat(w)).join("  "));
  if (rows.length > MAX_ROWS) lines.push(`… and ${rows.length - MAX_ROWS} more rows`);
  return lines.join("\n");
}

function cellText(cell: Cell): string {
  if (typeof cell === "number" && !Number.isInteger(cell)) return String(Number(cell.toPrecision(5)));
  return cell === null || cell === undefined ? "" : String(cell);
}
