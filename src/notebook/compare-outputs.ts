import { isDeepStrictEqual } from "node:util";
import { partPlots } from "../display/plot-bundle.js";
import { type MeasuredNumber, measuredText, quantityOf } from "./measured-text.js";
import type { CellOutput, CodeCell, MimeData, Notebook } from "./notebook-json.js";
import { factorFor, isWithin, type Tolerance, toleranceOf } from "./tolerance.js";

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

/** Outputs in this form come and go with what was measured before: bars and notices are not compared. */
export const PASSING_TYPE: string = "application/vnd.galvatron.passing+json";

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
  const differences = comparedTypes(stored).map((type) => {
    const [a, b] = [stored[type], now[type]];
    if (type === FIGURE_TYPE) return compareFigures(a, b, tolerance);
    if (type === "text/html" && typeof a === "string" && typeof b === "string")
      return comparePages(a, b, tolerance);
    if (typeof a === "string" && typeof b === "string") return compareText(type, a, b, tolerance);
    return compareJson(type, a, b, tolerance);
  });
  // What a table and its plain text both say is told once.
  return tolerance.kind === "range"
    ? (differences.find((some) => some.length > 0) ?? [])
    : differences.flat();
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
 * largest number within the range. How many points a measured series has may differ: a timeline joins what is near.
 */
function compareFigures(stored: unknown, now: unknown, tolerance: Tolerance): Difference[] {
  if (tolerance.kind !== "range") return compareJson(FIGURE_TYPE, stored, now, tolerance);
  const [a, b] = [stored as AnyFigure, now as AnyFigure];
  const [before, after] = [traceNames(a), traceNames(b)];
  if (before !== after) return [{ what: "the series of a figure", stored: before, now: after }];
  return [
    ...compareText("titles of a figure", titlesOf(a).join("\n"), titlesOf(b).join("\n"), tolerance),
    ...compareNumbers("a figure", ...seriesThatCount(a, b), tolerance),
  ];
}

function traceNames({ data = [] }: AnyFigure): string {
  return data.map(({ name, type }) => `${String(name)} (${String(type)})`).join(", ");
}

function titlesOf({ layout = {} }: AnyFigure): string[] {
  const named = Object.entries(layout).flatMap(([key, value]) =>
    typeof value === "object" && value !== null && "title" in value ? [[key, value.title] as const] : [],
  );
  const text = (title: unknown): string =>
    typeof title === "object" && title !== null && "text" in title ? String(title.text) : String(title ?? "");
  return [text(layout.title), ...named.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, title]) => text(title))];
}

/** A series that stays this far below the longest one on its axis, both times, says nothing. */
const NEGLIGIBLE = 0.05;

/** The series of two figures, without those that are too short to be told from nothing. */
function seriesThatCount(a: AnyFigure, b: AnyFigure): [Series[], Series[]] {
  const [before, after] = [seriesOf(a), seriesOf(b)];
  const counts = (all: readonly Series[], one: Series): boolean =>
    one.value >
    NEGLIGIBLE * Math.max(...all.filter(({ axis }) => axis === one.axis).map(({ value }) => value));
  const kept = before.map((one, index) => counts(before, one) || counts(after, after[index]!));
  return [before.filter((_, index) => kept[index]), after.filter((_, index) => kept[index])];
}

interface Series extends MeasuredNumber {
  readonly axis: string;
}

/** How far every series goes along both axes: bars that start somewhere, to their end. */
function seriesOf({ data = [], layout = {} }: AnyFigure): Series[] {
  return data.flatMap((trace) =>
    (["x", "y"] as const).map((axis): Series => {
      const place = String(trace[`${axis}axis`] ?? axis);
      const own = layout[`${axis}axis${place.slice(1)}`];
      const { title } = (own ?? {}) as { title?: { text?: string } };
      const base =
        axis === (trace.orientation === "h" ? "x" : "y") && Array.isArray(trace.base) ? trace.base : [];
      const value = farthest(trace[axis], base);
      const shown = `${String(trace.name)}: up to ${value} on the axis "${title?.text ?? axis}"`;
      return { value, quantity: quantityOf(title?.text ?? ""), shown, axis: place };
    }),
  );
}

/** The largest magnitude of a series, 0 for one without numbers. */
function farthest(series: unknown, base: readonly unknown[]): number {
  if (!Array.isArray(series)) return 0;
  return series.reduce<number>((most, value, index) => {
    const from = base[index];
    const end = typeof value === "number" ? value + (typeof from === "number" ? from : 0) : 0;
    return Math.max(most, Math.abs(end));
  }, 0);
}

function compareText(what: string, stored: string, now: string, tolerance: Tolerance): Difference[] {
  if (stored === now || tolerance.kind === "any") return [];
  if (tolerance.kind === "range") {
    const isPage = what === "text/html";
    const [before, after] = [measuredText(stored, isPage), measuredText(now, isPage)];
    if (before.words === after.words) return compareNumbers(what, before.numbers, after.numbers, tolerance);
    const [a, b] = firstDifference(before.words, after.words);
    return [{ what: `words of ${what}`, stored: a, now: b }];
  }
  const [a, b] = firstDifferentLine(stored, now);
  return [{ what, stored: a, now: b }];
}

/** Every number that left its range. */
function compareNumbers(
  what: string,
  stored: readonly MeasuredNumber[],
  now: readonly MeasuredNumber[],
  tolerance: Extract<Tolerance, { kind: "range" }>,
): Difference[] {
  return stored.flatMap((before, index): Difference[] => {
    const after = now[index]!;
    const factor = factorFor(before.quantity, tolerance);
    if (isWithin(before.value, after.value, factor)) return [];
    const times = Number((after.value / before.value).toPrecision(3));
    const allowed = factor === 1 ? "must be equal" : `${times} times, ${factor} allowed either way`;
    return [
      { what: `${what}, ${before.quantity}`, stored: before.shown, now: `${after.shown} (${allowed})` },
    ];
  });
}

function compareJson(what: string, a: unknown, b: unknown, tolerance: Tolerance): Difference[] {
  return tolerance.kind === "any" || isDeepStrictEqual(a, b)
    ? []
    : [{ what, ...firstJsonDifference(a, b, "") }];
}

function member(value: object, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

/** The first place where two values differ, named by its path. */
function firstJsonDifference(a: unknown, b: unknown, path: string): { stored: string; now: string } {
  if (typeof a === "object" && typeof b === "object" && a !== null && b !== null) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    const key = keys.find((name) => !isDeepStrictEqual(member(a, name), member(b, name)));
    if (key !== undefined)
      return firstJsonDifference(member(a, key), member(b, key), path === "" ? key : `${path}.${key}`);
  }
  const show = (value: unknown): string => `${path} = ${shorten(JSON.stringify(value) ?? "nothing")}`;
  return { stored: show(a), now: show(b) };
}

/** Two texts from a few words before they part. */
function firstDifference(a: string, b: string): [string, string] {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const from = Math.max(0, at - 40);
  return [shorten(a.slice(from)), shorten(b.slice(from))];
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
