import { partPlots } from "../display/plot-bundle.js";
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

/** What such a cell shows was chosen by measurements, such as a plan: words may differ too, only kinds are compared. */
export const CHOSEN_TAG: string = "chosen";

/** Outputs in this form come and go with what was measured before: bars and notices are not compared. */
export const PASSING_TYPE: string = "application/vnd.galvatron.passing+json";

/** Measured numbers may differ by this factor either way, unless the cell's metadata says otherwise. */
const DEFAULT_FACTOR = 3;

/** How numbers of a cell are compared. */
export type Tolerance =
  | { readonly kind: "exact" }
  | { readonly kind: "factor"; readonly factor: number }
  | { readonly kind: "any" };

/** A cell's tolerance: exact, or by its tags "measured" and "chosen" and `metadata.galvatron.factor`. */
export function toleranceOf(cell: CodeCell): Tolerance {
  if (tagsOf(cell).includes(CHOSEN_TAG)) return { kind: "any" };
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
  const [before, after] = [lasting(stored.outputs), lasting(now.outputs)];
  if (before.length !== after.length) {
    return [
      {
        what: "the number of outputs",
        stored: `${before.length}: ${before.map(({ kind }) => kind).join(", ") || "none"}`,
        now: `${after.length}: ${after.map(({ kind }) => kind).join(", ") || "none"}`,
      },
    ];
  }
  const tolerance = toleranceOf(stored);
  return before.flatMap((output, index) =>
    compareOutput(output, after[index]!, tolerance).map((difference) => ({
      ...difference,
      what: `output ${index + 1}: ${difference.what}`,
    })),
  );
}

function lasting(outputs: readonly CellOutput[]): CellOutput[] {
  return outputs.filter((output) => !("data" in output && PASSING_TYPE in output.data));
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
  return comparedTypes(stored).flatMap((type) => {
    const [a, b] = [stored[type], now[type]];
    if (type === FIGURE_TYPE) return compareFigures(a, b, tolerance);
    if (type === "text/html" && typeof a === "string" && typeof b === "string")
      return comparePages(a, b, tolerance);
    if (typeof a === "string" && typeof b === "string") return compareText(type, a, b, tolerance);
    return sameJson(a, b, tolerance) ? [] : [{ what: type, ...firstJsonDifference(a, b, tolerance, "") }];
  });
}

/** A figure's page and picture are made from its data: comparing those as well would tell one change three times. */
function comparedTypes(data: MimeData): string[] {
  if (FIGURE_TYPE in data) return [FIGURE_TYPE];
  const html = data["text/html"];
  const isPage = typeof html === "string" && partPlots(html).length > 1;
  return isPage ? ["text/html"] : Object.keys(data).sort();
}

/** HTML with figures in it: words as words, figures by their data. */
function comparePages(stored: string, now: string, tolerance: Tolerance): Difference[] {
  const [before, after] = [partPlots(stored), partPlots(now)];
  if (before.length !== after.length && tolerance.kind !== "any")
    return [
      {
        what: "the number of figures",
        stored: String((before.length - 1) / 2),
        now: String((after.length - 1) / 2),
      },
    ];
  return before.flatMap((part, index) => {
    const again = after[index];
    if (again === undefined || typeof part !== typeof again) return [];
    if (typeof part === "string" || typeof again === "string")
      return compareText("text/html", String(part), String(again), tolerance);
    return compareFigures(JSON.parse(part.json), JSON.parse(again.json), tolerance);
  });
}

interface AnyFigure {
  readonly data?: readonly Readonly<Record<string, unknown>>[];
  readonly layout?: Readonly<Record<string, unknown>>;
}

/**
 * Exactly, or measured: the same traces by name and kind, the same words in title and axes, and of every series the
 * largest number within the factor. How many points a measured series has may differ: a timeline joins what is near.
 */
function compareFigures(stored: unknown, now: unknown, tolerance: Tolerance): Difference[] {
  if (tolerance.kind !== "factor") {
    return sameJson(stored, now, tolerance)
      ? []
      : [{ what: FIGURE_TYPE, ...firstJsonDifference(stored, now, tolerance, "") }];
  }
  const [a, b] = [measuredFigure(stored as AnyFigure), measuredFigure(now as AnyFigure)];
  return sameJson(a, b, tolerance)
    ? []
    : [{ what: FIGURE_TYPE, ...firstJsonDifference(a, b, tolerance, "") }];
}

function measuredFigure({ data = [], layout = {} }: AnyFigure): unknown {
  const titles = Object.entries(layout).flatMap(([key, value]) =>
    typeof value === "object" && value !== null && "title" in value ? [[key, value.title]] : [],
  );
  return {
    title: layout.title,
    titles: Object.fromEntries(titles),
    data: data.map((trace) => ({
      name: trace.name,
      type: trace.type,
      ...Object.fromEntries(["x", "y"].map((axis) => [axis, largest(trace[axis])])),
    })),
  };
}

/** The largest magnitude of a series, 0 for one without numbers. */
function largest(series: unknown): number {
  if (!Array.isArray(series)) return 0;
  return series.reduce<number>(
    (most, value) => (typeof value === "number" ? Math.max(most, Math.abs(value)) : most),
    0,
  );
}

/** "+3.1 %", "−2 %": a difference of two measurements, which may come out with either sign and any size. */
const DIFFERENCE = /[+−]\d[\d.,]*/g;
const NUMBER = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?/gi;

function compareText(what: string, stored: string, now: string, tolerance: Tolerance): Difference[] {
  if (stored === now || tolerance.kind === "any") return [];
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
    .replace(/\("[0-9a-f]{16}",/g, "(")
    .replace(DIFFERENCE, "±");
}

function sameNumber(a: number, b: number, tolerance: Tolerance): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (tolerance.kind === "any") return true;
  if (tolerance.kind === "exact" || Math.sign(a) !== Math.sign(b)) return false;
  const ratio = Math.abs(a / b);
  return ratio <= tolerance.factor && ratio >= 1 / tolerance.factor;
}

function sameJson(a: unknown, b: unknown, tolerance: Tolerance): boolean {
  if (typeof a === "number" && typeof b === "number") return sameNumber(a, b, tolerance);
  if (typeof a === "string" && typeof b === "string") {
    return (
      a === b ||
      tolerance.kind === "any" ||
      (tolerance.kind === "factor" && sameMeasuredText(a, b, tolerance))
    );
  }
  if (tolerance.kind === "any") return true;
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
