import type { SpanKind } from "../program/timeline.js";

/**
 * Colours of what time is spent on. From Okabe and Ito's colour-blind safe set, chosen so that neighbours in a stack
 * also differ in lightness; waiting is hatched, so that a grey print tells it from work.
 */
export const TIME_COLORS: Readonly<Record<SpanKind | "bubble", string>> = {
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

export const MEMORY_COLORS: Readonly<Record<string, string>> = {
  parameters: "#0072B2",
  gradients: "#56B4E9",
  "optimizer state": "#5B5B5B",
  activations: "#E69F00",
  transient: "#CC79A7",
  "graph workspace": "#F0E442",
  "fixed reserve": "#D0D0D0",
};

/** One colour per strategy, in order of first appearance; repeats after eight with a pattern. */
const STRATEGY_COLORS: readonly string[] = [
  "#0072B2",
  "#E69F00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#D55E00",
  "#F0E442",
  "#5B5B5B",
];

const PATTERNS: readonly string[] = ["", "/", "x", ".", "+"];

/** Colour and pattern of the n-th strategy of a figure. */
export function strategyColor(index: number): { color: string; pattern: string } {
  return {
    color: STRATEGY_COLORS[index % STRATEGY_COLORS.length]!,
    pattern: PATTERNS[Math.floor(index / STRATEGY_COLORS.length) % PATTERNS.length]!,
  };
}
