import type { Quantity } from "./tolerance.js";

/** A number in a text, in ms or bytes where its unit says so. */
export interface MeasuredNumber {
  readonly value: number;
  readonly quantity: Quantity;
  /** As it is written, with its unit and the words before it. */
  readonly shown: string;
}

/** A text parted into its words and its numbers. */
export interface MeasuredText {
  /** With "#" for every number: widths of columns and rules follow the numbers and are left out. */
  readonly words: string;
  readonly numbers: readonly MeasuredNumber[];
}

/** A piece of text, and what stands over and beside it. */
interface Segment {
  readonly text: string;
  /** Words of the column and the row, nearest last. */
  readonly context: string;
}

/** "+3.1 %", "−2 %": a difference of two measurements, which may come out with either sign and any size. */
const DIFFERENCE = /[+−]\d[\d.,]*/g;
const UNITS: Readonly<Record<string, readonly [Quantity, number]>> = {
  µs: ["time", 1e-3],
  ms: ["time", 1],
  s: ["time", 1e3],
  bytes: ["memory", 1],
  kB: ["memory", 2 ** 10],
  MB: ["memory", 2 ** 20],
  GB: ["memory", 2 ** 30],
  TB: ["memory", 2 ** 40],
};
const NUMBER = new RegExp(
  `([-+]?(?:\\d{1,3}(?:,\\d{3})+(?:\\.\\d+)?|\\d+\\.?\\d*|\\.\\d+)(?:e[-+]?\\d+)?)(?:\\s*(${Object.keys(UNITS).join("|")})(?![\\p{L}/]))?`,
  "giu",
);

/** What the words nearest to a number tell, if anything. */
const NAMED: Readonly<Record<string, Quantity>> = {
  loss: "loss",
  ...Object.fromEntries(["memory", "bytes", "kb", "mb", "gb"].map((word) => [word, "memory" as const])),
  ...Object.fromEntries(["ms", "seconds", "tokens", "second", "%"].map((word) => [word, "time" as const])),
  ...Object.fromEntries(
    ["step", "steps", "of", "rank", "ranks", "layer", "layers"].map((word) => [word, "count" as const]),
  ),
};
const COUNTED = /^\s*(steps?|ranks?|layers?|samples|stages?)(?![\p{L}/(])/u;

/** @param html - tables are read by rows and columns */
export function measuredText(text: string, html: boolean): MeasuredText {
  const plain = withoutPictures(text);
  const segments = html
    ? htmlSegments(plain)
    : plain.split("\n").map((line) => ({ text: line, context: "" }));
  const words: string[] = [];
  const numbers: MeasuredNumber[] = [];
  for (const segment of segments) {
    let rest = 0;
    for (const match of segment.text.matchAll(NUMBER)) {
      words.push(segment.text.slice(rest, match.index), "#");
      rest = match.index + match[0].length;
      numbers.push(numberOf(match, segment));
    }
    words.push(segment.text.slice(rest), "\n");
  }
  return { words: words.join("").replace(/─+/g, "─").replace(/\s+/g, " ").trim(), numbers };
}

/** What an axis shows, by its title: "ms per step" is a time, "MB, fullest rank" memory, "step" a count. */
export function quantityOf(title: string): Quantity {
  const words = wordsOf(title.replace(/\S+\/s\b/g, "seconds"));
  const told = (["loss", "memory", "time", "count"] as const).find((one) =>
    words.some((word) => Object.hasOwn(NAMED, word) && NAMED[word] === one),
  );
  return told ?? "time";
}

function numberOf(match: RegExpExecArray, { text, context }: Segment): MeasuredNumber {
  const [written, digits = "", unit] = match;
  const number = Number(digits.replaceAll(",", ""));
  const before = text
    .slice(0, match.index)
    .split(/[,;]\s/)
    .at(-1)!;
  const after = text.slice(match.index + written.length);
  const shown = `${context} ${before}${written}`.replace(/\s+/g, " ").trim().slice(-120);
  const known = unit === undefined ? undefined : UNITS[unit];
  if (known) return { value: number * known[1], quantity: known[0], shown };
  if (COUNTED.test(after)) return { value: number, quantity: "count", shown };
  if (/^\s*(%|×|[\p{L}]+\/s)/u.test(after)) return { value: number, quantity: "time", shown };
  return { value: number, quantity: quantityIn(before) ?? quantityIn(context) ?? "time", shown };
}

/** By the last word that says something. */
function quantityIn(text: string): Quantity | undefined {
  const telling = wordsOf(text)
    .filter((word) => Object.hasOwn(NAMED, word))
    .at(-1);
  return telling === undefined ? undefined : NAMED[telling];
}

/** "peakMemoryBytes" is three. */
function wordsOf(text: string): string[] {
  return text
    .replace(/(\p{Ll})(\p{Lu})/gu, "$1 $2")
    .toLowerCase()
    .split(/[^\p{L}%]+/u);
}

/** Cells of tables with the titles of their row and column; what stands outside of tables, line by line. */
function htmlSegments(html: string): Segment[] {
  const segments: Segment[] = [];
  let header: readonly string[] = [];
  let row: string[] = [];
  let buffer = "";
  const flush = (isCell: boolean): void => {
    const label = row.length > 0 && header.length > 0 ? row[0]! : "";
    const context = `${label} ${header[row.length] ?? ""}`;
    for (const text of buffer.split("\n")) segments.push({ text, context });
    if (isCell) row.push(buffer.trim());
    buffer = "";
  };
  for (const piece of html.split(/(<[^>]*>)/)) {
    const [, end, tag] = /^<(\/?)(\w+)/.exec(piece)?.map((word) => word?.toLowerCase()) ?? [];
    if (tag === undefined) buffer += piece;
    else if (tag === "td" || tag === "th") {
      if (end || buffer.trim() !== "") flush(true);
    } else if (tag === "tr" || tag === "table" || tag === "caption") {
      flush(false);
      if (tag === "tr" && end && header.length === 0) header = row;
      if (tag === "table") header = [];
      row = [];
    } else buffer += " ";
  }
  flush(false);
  return segments;
}

/** Pictures and fingerprints are made from numbers that stand beside them. */
function withoutPictures(text: string): string {
  return text
    .replace(/data:image\/[\w+.-]+;base64,[\w+/=]+/g, "picture")
    .replace(/data-galvatron-(plot|interact)="\w+"/g, "")
    .replace(/\("[0-9a-f]{16}",/g, "(")
    .replace(DIFFERENCE, "±");
}
