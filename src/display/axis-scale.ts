import type { Axis, AxisValue, Trace } from "./figure.js";

/** From a value on an axis to a pixel. */
export interface Scale {
  readonly kind: "linear" | "log" | "category";
  readonly domain: readonly [number, number];
  readonly categories: readonly string[];
  place(value: AxisValue): number;
  /** Pixels of one category (or of one unit). */
  readonly unitPx: number;
}

/** The scale of one axis from what its traces hold. `stacked`: bars stand on one another. */
export function scaleOf(
  axis: Axis,
  traces: readonly Trace[],
  dimension: "x" | "y",
  stacked: boolean,
  pixels: readonly [number, number],
): Scale {
  const values = traces.flatMap((trace) => trace[dimension] as readonly (AxisValue | null)[]);
  const isCategory =
    axis.type === "category" || (axis.type === undefined && values.some((v) => typeof v === "string"));
  if (isCategory) return categoryScale(values, axis, pixels, dimension);
  if (axis.type === "log") return logScale(values as number[], axis, pixels);
  const extent = axis.range ?? linearExtent(traces, dimension, stacked, axis);
  const [low, high] = axis.autorange === "reversed" ? [extent[1], extent[0]] : extent;
  const unitPx = (pixels[1] - pixels[0]) / (high - low || 1);
  return {
    kind: "linear",
    domain: [low, high],
    categories: [],
    unitPx: Math.abs(unitPx),
    place: (value) => pixels[0] + (Number(value) - low) * unitPx,
  };
}

function categoryScale(
  values: readonly (AxisValue | null)[],
  axis: Axis,
  pixels: readonly [number, number],
  dimension: "x" | "y",
): Scale {
  const categories = [...new Set(values.filter((v) => v !== null).map(String))];
  // Plotly puts the first category of a y axis at the bottom unless the axis is reversed; pixels grow downwards.
  const reversed = dimension === "y" && axis.autorange === "reversed";
  const ordered = reversed ? [...categories].reverse() : categories;
  const unitPx = (pixels[1] - pixels[0]) / Math.max(1, ordered.length);
  return {
    kind: "category",
    domain: [0, ordered.length],
    categories: ordered,
    unitPx: Math.abs(unitPx),
    place: (value) =>
      pixels[0] + ((typeof value === "number" ? value : ordered.indexOf(value)) + 0.5) * unitPx,
  };
}

function logScale(values: readonly number[], axis: Axis, pixels: readonly [number, number]): Scale {
  const positive = values.filter((v) => v > 0);
  const low = axis.range?.[0] ?? Math.floor(Math.log10(Math.min(...positive)) * 2) / 2;
  const high = axis.range?.[1] ?? Math.ceil(Math.log10(Math.max(...positive)) * 2) / 2;
  const unitPx = (pixels[1] - pixels[0]) / (high - low || 1);
  return {
    kind: "log",
    domain: [low, high],
    categories: [],
    unitPx: Math.abs(unitPx),
    place: (value) => pixels[0] + (Math.log10(Number(value)) - low) * unitPx,
  };
}

function linearExtent(
  traces: readonly Trace[],
  dimension: "x" | "y",
  stacked: boolean,
  axis: Axis,
): readonly [number, number] {
  let low = axis.rangemode === "tozero" ? 0 : Number.POSITIVE_INFINITY;
  let high = axis.rangemode === "tozero" ? 0 : Number.NEGATIVE_INFINITY;
  const stack = new Map<string, number>();
  const see = (value: number): void => {
    low = Math.min(low, value);
    high = Math.max(high, value);
  };
  for (const trace of traces) {
    const isLength = trace.type === "bar" && (trace.orientation === "h") === (dimension === "x");
    for (const [i, value] of trace[dimension].entries()) {
      if (value === null || typeof value === "string") continue;
      if (!isLength) {
        see(value);
        continue;
      }
      const start = trace.base?.[i] ?? 0;
      if (!stacked || trace.base) {
        see(start);
        see(start + value);
        continue;
      }
      const key = String(trace[dimension === "x" ? "y" : "x"][i]);
      const top = (stack.get(key) ?? 0) + value;
      stack.set(key, top);
      see(0);
      see(top);
    }
  }
  if (!Number.isFinite(low)) return [0, 1];
  const pad = (high - low || Math.abs(high) || 1) * 0.04;
  const isBarLength = traces.some((t) => t.type === "bar" && (t.orientation === "h") === (dimension === "x"));
  return [isBarLength && low === 0 ? 0 : low - pad, high + pad];
}

export interface Tick {
  readonly value: AxisValue;
  readonly label: string;
}

/** At most about `count` ticks at round values; the axis' own ticks where it has them. */
export function niceTicks(scale: Scale, axis: Axis, count: number): Tick[] {
  if (axis.tickvals) {
    return axis.tickvals.map((value, i) => ({ value, label: axis.ticktext?.[i] ?? String(value) }));
  }
  if (scale.kind === "category") {
    const every = Math.max(1, Math.ceil(scale.categories.length / (count * 2)));
    return scale.categories.flatMap((value, i) => (i % every === 0 ? [{ value, label: value }] : []));
  }
  const low = Math.min(...scale.domain);
  const high = Math.max(...scale.domain);
  if (scale.kind === "log") {
    const ticks: Tick[] = [];
    for (let power = Math.ceil(low); power <= Math.floor(high); power++) {
      ticks.push({ value: 10 ** power, label: shortNumber(10 ** power) });
    }
    return ticks;
  }
  const rough = (high - low) / Math.max(1, count);
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((s) => s * magnitude).find((s) => s >= rough) ?? magnitude * 10;
  const ticks: Tick[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    ticks.push({ value: i * step, label: shortNumber(i * step) });
  }
  return ticks;
}

/** 1200 → "1.2k", 3e9 → "3G": as plotly shortens. */
function shortNumber(value: number): string {
  const units: readonly (readonly [number, string])[] = [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ];
  for (const [size, suffix] of units) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))}${suffix}`;
  }
  return String(Number(value.toPrecision(4)));
}
