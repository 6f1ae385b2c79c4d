import type { Scale } from "./axis-scale.js";
import { type BarTrace, HATCH_INK, type HeatmapTrace, type ScatterTrace, type Trace } from "./figure.js";

/** A rectangle of the picture with its two scales and what is drawn there. */
export interface Pane {
  readonly box: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
  readonly traces: readonly Trace[];
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly stacked: boolean;
  readonly barGap: number;
}

/** All traces of a pane as SVG elements. */
export function drawTrace(pane: Pane): string[] {
  const bars = pane.traces.filter((t): t is BarTrace => t.type === "bar");
  const stack = new Map<string, number>();
  return pane.traces.flatMap((trace) => {
    if (trace.type === "bar") return drawBars(trace, pane, bars, stack);
    if (trace.type === "scatter") return drawScatter(trace, pane);
    return drawHeatmap(trace, pane);
  });
}

function drawBars(
  trace: BarTrace,
  pane: Pane,
  bars: readonly BarTrace[],
  stack: Map<string, number>,
): string[] {
  const horizontal = trace.orientation === "h";
  const along = horizontal ? pane.xScale : pane.yScale;
  const across = horizontal ? pane.yScale : pane.xScale;
  const grouped = !pane.stacked && trace.base === undefined && bars.length > 1;
  const share = trace.width ?? (1 - pane.barGap) / (grouped ? bars.length : 1);
  const thickness = Math.max(1, share * across.unitPx);
  const shift = grouped ? (bars.indexOf(trace) - (bars.length - 1) / 2) * thickness : 0;
  const lengths = horizontal ? trace.x : trace.y;
  const places = horizontal ? trace.y : trace.x;
  const rects = lengths.map((length, i): Rect => {
    const key = String(places[i]);
    const start = trace.base?.[i] ?? (pane.stacked ? (stack.get(key) ?? 0) : 0);
    const end = start + Number(length);
    if (pane.stacked && trace.base === undefined) stack.set(key, end);
    const [from, to] = [along.place(start), along.place(end)].sort((a, b) => a - b) as [number, number];
    const middle = across.place(places[i]!) + shift;
    return horizontal
      ? { x: from, y: middle - thickness / 2, width: to - from, height: thickness }
      : { x: middle - thickness / 2, y: from, width: thickness, height: to - from };
  });
  return drawRects(rects, trace);
}

interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** More bars than this are drawn as one path: a rectangle each would be most of the picture's bytes. */
const MOST_RECTANGLES = 8;

function drawRects(rects: readonly Rect[], { marker }: BarTrace): string[] {
  const stroke = marker.line ? ` stroke="${marker.line.color}" stroke-width="${marker.line.width}"` : "";
  const paint = `fill="${barFill(marker)}"${stroke}`;
  const width = (rect: Rect): number => px(Math.max(0.3, rect.width));
  if (rects.length > MOST_RECTANGLES) {
    const path = rects
      .map((r) => `M${px(r.x)} ${px(r.y)}h${width(r)}v${px(r.height)}h${-width(r)}z`)
      .join("");
    return [`<path d="${path}" ${paint}/>`];
  }
  return rects.map(
    (r) => `<rect x="${px(r.x)}" y="${px(r.y)}" width="${width(r)}" height="${px(r.height)}" ${paint}/>`,
  );
}

/** A colour, or the name of the hatch that {@link hatchDefinitions} defines for it. */
function barFill({ color, pattern }: BarTrace["marker"]): string {
  return pattern?.shape ? `url(#${hatchName(color, pattern.shape)})` : color;
}

const HATCHES: Readonly<Record<string, string>> = {
  "/": "M-2 2L2 -2M0 8L8 0M6 10L10 6",
  "\\": "M-2 6L2 10M0 0L8 8M6 -2L10 2",
  x: "M0 8L8 0M0 0L8 8",
  "-": "M0 4H8",
  "|": "M4 0V8",
  "+": "M0 4H8M4 0V8",
  ".": "M3 4a1 1 0 1 0 2 0a1 1 0 1 0 -2 0",
};

function hatchName(color: string, shape: string): string {
  return `h${color.replace(/\W/g, "")}${shape.charCodeAt(0)}`;
}

/** Definitions of the hatches that a figure's bars use, so that a grey print tells them apart. */
export function hatchDefinitions(traces: readonly Trace[]): string {
  const hatches = new Map<string, string>();
  for (const trace of traces) {
    if (trace.type !== "bar" || !trace.marker.pattern?.shape) continue;
    const { color, pattern } = trace.marker;
    const name = hatchName(color, pattern.shape);
    hatches.set(
      name,
      `<pattern id="${name}" width="8" height="8" patternUnits="userSpaceOnUse"><path d="M0 0h8v8h-8z" fill="${color}"/><path d="${HATCHES[pattern.shape] ?? HATCHES["/"]}" stroke="${pattern.fgcolor ?? HATCH_INK}" fill="none"/></pattern>`,
    );
  }
  return hatches.size === 0 ? "" : `<defs>${[...hatches.values()].join("")}</defs>`;
}

function drawScatter(trace: ScatterTrace, pane: Pane): string[] {
  const points = trace.x.flatMap((x, i) => {
    const y = trace.y[i];
    if (y === null || y === undefined) return [];
    const placed = { x: pane.xScale.place(x), y: pane.yScale.place(y) };
    return Number.isFinite(placed.x) && Number.isFinite(placed.y) ? [placed] : [];
  });
  const parts: string[] = [];
  if (trace.mode.includes("lines") && points.length > 1) {
    // "hv": along first, then up.
    const corners =
      trace.line?.shape === "hv"
        ? points.flatMap((p, i) => [...(i > 0 ? [{ x: p.x, y: points[i - 1]!.y }] : []), p])
        : points;
    const path = corners.map((p) => `${px(p.x)},${px(p.y)}`).join(" ");
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${trace.line?.color ?? "#0072B2"}" stroke-width="${trace.line?.width ?? 2}"${dashed(trace.line?.dash)}/>`,
    );
  }
  if (trace.mode.includes("markers")) {
    for (const p of points) parts.push(drawMarker(trace, p.x, p.y));
  }
  return parts;
}

function drawMarker({ marker: look = { color: "#0072B2" } }: ScatterTrace, x: number, y: number): string {
  return marker(look.symbol ?? "circle", x, y, (look.size ?? 6) / 2, look.color);
}

/** Attribute of a line that is not solid. */
export function dashed(dash: string | undefined): string {
  return dash === "dash" ? ' stroke-dasharray="6 4"' : dash === "dot" ? ' stroke-dasharray="2 3"' : "";
}

/** What stands before a trace's name in the legend: 20 wide, 12 high. */
export function legendMark(trace: Trace, x: number, y: number): string {
  if (trace.type === "bar")
    return `<rect x="${x + 4}" y="${y}" width="12" height="12" fill="${barFill(trace.marker)}"/>`;
  if (trace.type !== "scatter") return "";
  const line = trace.mode.includes("lines")
    ? `<path d="M${x} ${y + 6}h20" stroke="${trace.line?.color ?? "#0072B2"}" stroke-width="${trace.line?.width ?? 2}"${dashed(trace.line?.dash)}/>`
    : "";
  return `${line}${trace.mode.includes("markers") ? drawMarker(trace, x + 10, y + 6) : ""}`;
}

function marker(symbol: string, x: number, y: number, r: number, color: string): string {
  if (symbol === "x") {
    return `<path d="M${px(x - r)} ${px(y - r)}L${px(x + r)} ${px(y + r)}M${px(x - r)} ${px(y + r)}L${px(x + r)} ${px(y - r)}" stroke="${color}" stroke-width="1.5"/>`;
  }
  if (symbol === "square") {
    return `<rect x="${px(x - r)}" y="${px(y - r)}" width="${px(2 * r)}" height="${px(2 * r)}" fill="${color}"/>`;
  }
  if (symbol === "diamond") {
    return `<path d="M${px(x)} ${px(y - r * 1.3)}L${px(x + r * 1.3)} ${px(y)}L${px(x)} ${px(y + r * 1.3)}L${px(x - r * 1.3)} ${px(y)}Z" fill="${color}"/>`;
  }
  if (symbol === "triangle-up") {
    return `<path d="M${px(x)} ${px(y - r * 1.2)}L${px(x + r * 1.2)} ${px(y + r)}L${px(x - r * 1.2)} ${px(y + r)}Z" fill="${color}"/>`;
  }
  if (symbol === "cross") {
    return `<path d="M${px(x - r)} ${px(y)}H${px(x + r)}M${px(x)} ${px(y - r)}V${px(y + r)}" stroke="${color}" stroke-width="2.5"/>`;
  }
  return `<circle cx="${px(x)}" cy="${px(y)}" r="${px(r)}" fill="${color}"/>`;
}

function drawHeatmap(trace: HeatmapTrace, pane: Pane): string[] {
  const all = trace.z.flat().filter((v): v is number => v !== null);
  const low = Math.min(...all);
  const high = Math.max(...all);
  const w = pane.xScale.unitPx;
  const h = pane.yScale.unitPx;
  return trace.z.flatMap((row, j) =>
    row.flatMap((value, i) => {
      if (value === null) return [];
      const share = high > low ? (value - low) / (high - low) : 0;
      const color = colorAt(trace.colorscale, share);
      const x = pane.xScale.place(trace.x[i]!) - w / 2;
      const y = pane.yScale.place(trace.y[j]!) - h / 2;
      return [`<rect x="${px(x)}" y="${px(y)}" width="${px(w)}" height="${px(h)}" fill="${color}"/>`];
    }),
  );
}

/** The step of the colour scale that a share between 0 and 1 falls on (no blending: scales are discrete here). */
function colorAt(scale: readonly (readonly [number, string])[], share: number): string {
  let color = scale[0]?.[1] ?? "#888";
  for (const [at, value] of scale) if (share >= at) color = value;
  return color;
}

function px(value: number): number {
  return Math.round(value * 10) / 10;
}
