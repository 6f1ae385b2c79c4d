import type { SpanKind } from "../program/timeline.js";
import { type BarTrace, HATCH_INK } from "./figure.js";

type BarPattern = NonNullable<BarTrace["marker"]["pattern"]>;

/**
 * Colours of what time is spent on. From Okabe and Ito's colour-blind safe set, chosen so that neighbours in a stack
 * also differ in lightness; waiting is hatched, so that a grey print tells it from work.
 */
const TIME_COLORS: Readonly<Record<SpanKind | "bubble", string>> = {
  compute: "#0072B2",
  recompute: "#56B4E9",
  tensor: "#E69F00",
  data: "#009E73",
  pipeline: "#CC79A7",
  relayout: "#F0E442",
  optimizer: "#5B5B5B",
  bubble: "#D0D0D0",
};

/** What people read for each kind of time. */
export const TIME_LABELS: Readonly<Record<SpanKind | "bubble", string>> = {
  compute: "compute",
  recompute: "recompute",
  tensor: "tensor communication",
  data: "data communication",
  pipeline: "pipeline transfer",
  relayout: "layout change",
  optimizer: "optimizer",
  bubble: "bubble (waiting)",
};

const MEMORY_COLORS: Readonly<Record<string, string>> = {
  parameters: "#0072B2",
  gradients: "#56B4E9",
  "optimizer state": "#5B5B5B",
  activations: "#E69F00",
  transient: "#CC79A7",
  "graph workspace": "#F0E442",
  "fixed reserve": "#D0D0D0",
};

/**
 * One colour per strategy, in order of first appearance; neighbours in lightness also differ in their hatch, so that a
 * grey print tells them apart. After eight all are hatched anew.
 */
const STRATEGY_COLORS: readonly (readonly [color: string, hatch: string])[] = [
  ["#0072B2", ""],
  ["#E69F00", ""],
  ["#009E73", "/"],
  ["#CC79A7", "x"],
  ["#56B4E9", "\\"],
  ["#D55E00", "-"],
  ["#F0E442", ""],
  ["#5B5B5B", ""],
];

const LATER_HATCHES: readonly string[] = ["|", "+", "."];

/** Marks and lines that a grey print tells apart, in the order in which they are used. */
export const SYMBOLS = ["circle", "square", "diamond", "x", "triangle-up", "cross"] as const;
export const DASHES = ["solid", "dash", "dot"] as const;

/** Colour and hatch of the n-th strategy of a figure. */
export function strategyColor(index: number): { color: string; pattern: string } {
  const [color, hatch] = STRATEGY_COLORS[index % STRATEGY_COLORS.length]!;
  const round = Math.floor(index / STRATEGY_COLORS.length);
  return { color, pattern: round === 0 ? hatch : LATER_HATCHES[(round - 1) % LATER_HATCHES.length]! };
}

/** Grey lines on a light bar: what is no work, such as waiting. */
const IDLE: BarPattern = { shape: "/", fgcolor: "#8a8a8a", size: 6, fillmode: "overlay" };

/** A hatch over a colour. */
export function hatch(shape: string): BarPattern {
  return { shape, fgcolor: HATCH_INK, size: 6, fillmode: "overlay" };
}

/** Hatches of the kinds of time: waiting, and those whose lightness is near a neighbour's. */
const TIME_HATCHES: Readonly<Partial<Record<SpanKind | "bubble", BarPattern>>> = {
  bubble: IDLE,
  recompute: hatch("\\"),
  data: hatch("/"),
  pipeline: hatch("x"),
  optimizer: hatch("."),
};

/** Colour of a kind of time, hatched where a grey print needs it. */
export function timeMarker(kind: SpanKind | "bubble"): BarTrace["marker"] {
  const pattern = TIME_HATCHES[kind];
  return { color: TIME_COLORS[kind], ...(pattern && { pattern }) };
}

const MEMORY_HATCHES: Readonly<Record<string, BarPattern>> = {
  "fixed reserve": IDLE,
  gradients: hatch("\\"),
  transient: hatch("x"),
  "optimizer state": hatch("."),
};

/** Colour of a category of memory, hatched where a grey print needs it. */
export function memoryMarker(category: string): BarTrace["marker"] {
  const pattern = MEMORY_HATCHES[category];
  return { color: MEMORY_COLORS[category]!, ...(pattern && { pattern }) };
}
