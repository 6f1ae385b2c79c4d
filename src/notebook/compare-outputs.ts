import { type CellOutput, type CodeCell, type MimeData, type Notebook, tagsOf } from "./notebook-json.js";

/** One output that is not what the notebook says. */
export interface OutputChange {
  readonly cellId: string;
  /** Position among the code cells, from 1. */
  readonly number: number;
  /** What differs: "output 2: text/plain", "2 outputs instead of 1". */
  readonly what: string;
  readonly stored: string;
  readonly now: string;
}

/** Numbers in cells tagged so are measurements: they may differ within a factor. */
export const MEASURED_TAG: string = "measured";

/** Measured numbers may differ by this factor either way, unless the cell's metadata says otherwise. */
const DEFAULT_FACTOR = 3;

/** How numbers of a cell are compared. */
export type Tolerance = { readonly kind: "exact" } | { readonly kind: "factor"; readonly factor: number };

/** A cell's tolerance: exact, or by its "measured" tag and `metadata.galvatron.factor`. */
export function toleranceOf(cell: CodeCell): Tolerance {
  if (!tagsOf(cell).includes(MEASURED_TAG)) return { kind: "exact" };
  const own = cell.metadata.galvatron as { factor?: unknown } | undefined;
  const factor = typeof own?.factor === "number" && own.factor >= 1 ? own.factor : DEFAULT_FACTOR;
  return { kind: "factor", factor };
}

/** What two executions of the same notebook show differently. */
export function compareOutputs(stored: Notebook, now: Notebook): OutputChange[] {
  const before = codeCells(stored);
  const after = codeCells(now);
  return before.flatMap((cell, index) => {
    const again = after[index];
    const place = { cellId: cell.id, number: index + 1 };
    const differences = again ? compareCell(cell, again) : [MISSING_CELL];
    return differences.map((difference) => ({ ...place, ...difference }));
  });
}

type Difference = Omit<OutputChange, "cellId" | "number">;

const MISSING_CELL: Difference = { what: "the cell", stored: "there", now: "missing" };

function codeCells({ cells }: Notebook): CodeCell[] {
  return cells.filter((cell): cell is CodeCell => cell.kind === "code" && cell.source.trim() !== "");
}

function compareCell(stored: CodeCell, now: CodeCell): Difference[] {
  if (stored.outputs.length !== now.outputs.length) {
    return [
      {
        what: "the number of outputs",
        stored: `${stored.outputs.length}: ${stored.outputs.map(({ kind }) => kind).join(", ") || "none"}`,
        now: `${now.outputs.length}: ${now.outputs.map(({ kind }) => kind).join(", ") || "none"}`,
      },
    ];
  }
  const tolerance = toleranceOf(stored);
  return stored.outputs.flatMap((output, index) =>
    compareOutput(output, now.outputs[index]!, tolerance).map((difference) => ({
      ...difference,
      what: `output ${index + 1}: ${difference.what}`,
    })),
  );
}

function compareOutput(stored: CellOutput, now: CellOutput, tolerance: Tolerance): Difference[] {
  if (stored.kind !== now.kind) return [{ what: "its kind", stored: stored.kind, now: now.kind }];
  if (stored.kind === "stream" && now.kind === "stream") {
    return compareText(stored.name, stored.text, now.text, tolerance);
  }
  if (stored.kind === "error" && now.kind === "error") {
    return compareText(
      "the error",
      `${stored.ename}: ${stored.evalue}`,
      `${now.ename}: ${now.evalue}`,
      tolerance,
    );
  }
  return "data" in stored && "data" in now ? compareData(stored.data, now.data, tolerance) : [];
}

const FIGURE_TYPE = "application/vnd.plotly.v1+json";

function compareData(stored: MimeData, now: MimeData, tolerance: Tolerance): Difference[] {
  const types = Object.keys(stored).sort();
  const others = Object.keys(now).sort();
  if (types.join() !== others.join()) {
    return [{ what: "its forms", stored: types.join(", "), now: others.join(", ") }];
  }
  // A figure's page and picture are made from its data: comparing those as well would tell one change three times.
  const compared = types.includes(FIGURE_TYPE) ? [FIGURE_TYPE] : types;
  return compared.flatMap((type) => {
    const [a, b] = [stored[type], now[type]];
    if (typeof a === "string" && typeof b === "string") return compareText(type, a, b, tolerance);
    return sameJson(a, b, tolerance) ? [] : [{ what: type, ...firstJsonDifference(a, b, tolerance, "") }];
  });
}

const NUMBER = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?/gi;

function compareText(what: string, stored: string, now: string, tolerance: Tolerance): Difference[] {
  if (stored === now) return [];
  if (tolerance.kind === "factor" && sameMeasuredText(stored, now, tolerance)) return [];
  const [a, b] = firstDifferentLine(stored, now);
  return [{ what, stored: a, now: b }];
}

/** The same words around numbers that are near: widths of columns and rules may follow the numbers. */
function sameMeasuredText(stored: string, now: string, tolerance: Tolerance): boolean {
  const [before, again] = [withoutPictures(stored), withoutPictures(now)];
  const words = (text: string): string =>
    text.replace(NUMBER, "#").replace(/─+/g, "─").replace(/\s+/g, " ").trim();
  if (words(before) !== words(again)) return false;
  const numbers = (text: string): number[] => (text.match(NUMBER) ?? []).map(Number);
  const after = numbers(again);
  return numbers(before).every((value, index) => sameNumber(value, after[index]!, tolerance));
}

/** Pictures and fingerprints are made from numbers that stand beside them. */
function withoutPictures(text: string): string {
  return text
    .replace(/data:image\/[\w+.-]+;base64,[\w+/=]+/g, "picture")
    .replace(/data-galvatron-(plot|interact)="\w+"/g, "")
    .replace(/\("[0-9a-f]{16}",/g, "(");
}

function sameNumber(a: number, b: number, tolerance: Tolerance): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (tolerance.kind === "exact" || Math.sign(a) !== Math.sign(b)) return false;
  const ratio = Math.abs(a / b);
  return ratio <= tolerance.factor && ratio >= 1 / tolerance.factor;
}

function sameJson(a: unknown, b: unknown, tolerance: Tolerance): boolean {
  if (typeof a === "number" && typeof b === "number") return sameNumber(a, b, tolerance);
  if (typeof a === "string" && typeof b === "string") {
    return a === b || (tolerance.kind === "factor" && sameMeasuredText(a, b, tolerance));
  }
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const keys = Object.keys(a);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => key in b && sameJson(member(a, key), member(b, key), tolerance))
  );
}

function member(value: object, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

/** The first place where two values differ, named by its path. */
function firstJsonDifference(
  a: unknown,
  b: unknown,
  tolerance: Tolerance,
  path: string,
): { stored: string; now: string } {
  if (typeof a === "object" && typeof b === "object" && a !== null && b !== null) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    const key = keys.find((name) => !sameJson(member(a, name), member(b, name), tolerance));
    if (key !== undefined) {
      return firstJsonDifference(
        member(a, key),
        member(b, key),
        tolerance,
        path === "" ? key : `${path}.${key}`,
      );
    }
  }
  const show = (value: unknown): string => `${path} = ${shorten(JSON.stringify(value) ?? "nothing")}`;
  return { stored: show(a), now: show(b) };
}

function firstDifferentLine(stored: string, now: string): [string, string] {
  const a = stored.split("\n");
  const b = now.split("\n");
  const at = a.findIndex((line, index) => line !== b[index]);
  const index = at < 0 ? a.length : at;
  return [shorten(a[index] ?? "(nothing)"), shorten(b[index] ?? "(nothing)")];
}

function shorten(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 199)}…`;
}
