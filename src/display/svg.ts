import { niceTicks, type Scale, scaleOf } from "./axis-scale.js";
import { type Annotation, type Axis, type Figure, GRID, INK, type LineShape, type Trace } from "./figure.js";
import { dashed, drawTrace, hatchDefinitions, legendMark, type Pane } from "./svg-traces.js";

const WIDTH = 760;

/** Ticks and title below the lowest axis. */
const AXIS_PX = 48;

/**
 * The figure as a static SVG: what shows where no script runs (GitHub, PDF, untrusted notebooks). Deterministic,
 * self-contained, a few kB.
 */
export function figureToSvg(figure: Figure, width: number = WIDTH): string {
  const { layout } = figure;
  const legend = legendEntries(figure);
  const rows = legend.length === 0 ? 0 : layoutLegend(legend, width).rows;
  const margin = layout.margin ?? { l: 70, r: 20, t: 48, b: 92 };
  const left = Math.max(margin.l, leftMargin(figure));
  const height = layout.height;
  const plot = {
    x: left,
    y: margin.t,
    width: width - left - margin.r,
    height: height - margin.t - AXIS_PX - rows * 20,
  };
  const parts: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui,sans-serif" font-size="12" fill="${INK}">`,
  ];
  parts.push(hatchDefinitions(figure.data));
  if (layout.title) parts.push(text(12, 24, layout.title.text, { size: 15 }));
  for (const pane of panes(figure, plot)) parts.push(...drawPane(pane, figure));
  parts.push(...drawAnnotations(figure, plot));
  if (legend.length > 0) {
    const placed = layoutLegend(legend, width);
    const top = height - rows * 20 - 4;
    for (const { entry, x, row } of placed.entries) {
      parts.push(legendMark(entry, x, top + row * 20));
      parts.push(text(x + MARK_PX, top + row * 20 + 10, entry.name));
    }
  }
  parts.push("</svg>");
  return parts.join("");
}

/** Pictures of `figureToSvg` below one another, as one picture. */
export function stackSvgs(svgs: readonly string[]): string {
  let top = 0;
  const placed = svgs.map((svg) => {
    const [, width = "0", height = "0"] = /^<svg [^>]*width="(\d+)" height="(\d+)"/.exec(svg) ?? [];
    const moved = `<g transform="translate(0 ${top})">${svg}</g>`;
    top += Number(height);
    return { moved, width: Number(width) };
  });
  const width = Math.max(...placed.map((one) => one.width));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" height="${top}">${placed.map(({ moved }) => moved).join("")}</svg>`;
}

function legendEntries(figure: Figure): Trace[] {
  if (figure.layout.showlegend === false) return [];
  const entries = new Map<string, Trace>();
  for (const trace of figure.data) {
    if (trace.showlegend === false || trace.type === "heatmap" || entries.has(trace.name)) continue;
    entries.set(trace.name, trace);
  }
  return entries.size > 1 ? [...entries.values()] : [];
}

/** A legend's mark and the space behind it. */
const MARK_PX = 25;

/** Average width of a character at 12 px: good enough to place words without a browser. */
const CHARACTER_PX = 6.6;

function layoutLegend(
  legend: readonly Trace[],
  width: number,
): { rows: number; entries: { entry: Trace; x: number; row: number }[] } {
  let x = 16;
  let row = 0;
  const entries = legend.map((entry) => {
    const needs = MARK_PX + entry.name.length * CHARACTER_PX + 18;
    if (x + needs > width && x > 16) {
      x = 16;
      row++;
    }
    const placed = { entry, x, row };
    x += needs;
    return placed;
  });
  return { rows: row + 1, entries };
}

/** Room for the longest label of a category axis on the left. */
function leftMargin(figure: Figure): number {
  let longest = 0;
  for (const trace of figure.data) {
    // Axes further right have their own room.
    const [start] = axisOf(figure, "xaxis", trace.xaxis ?? "x").domain ?? [0];
    if (start > 0) continue;
    const { ticktext = [] } = axisOf(figure, "yaxis", trace.yaxis ?? "y");
    for (const value of [...trace.y, ...ticktext])
      if (typeof value === "string") longest = Math.max(longest, value.length);
  }
  for (const [name, axis] of Object.entries(figure.layout))
    if (name.startsWith("yaxis"))
      for (const words of (axis as Axis).ticktext ?? []) longest = Math.max(longest, words.length);
  return 26 + longest * CHARACTER_PX;
}

interface DrawnPane extends Pane {
  readonly xAxis: Axis;
  readonly yAxis: Axis;
  readonly xName: string;
  readonly yName: string;
}

/** One pane for every pair of axes that a trace names. */
function panes(figure: Figure, plot: { x: number; y: number; width: number; height: number }): DrawnPane[] {
  const pairs = new Map<string, Trace[]>();
  for (const trace of figure.data) {
    const key = `${trace.xaxis ?? "x"} ${trace.yaxis ?? "y"}`;
    pairs.set(key, [...(pairs.get(key) ?? []), trace]);
  }
  return [...pairs].map(([key, traces]) => {
    const [xName, yName] = key.split(" ") as [string, string];
    const xAxis = axisOf(figure, "xaxis", xName);
    const yAxis = axisOf(figure, "yaxis", yName);
    const [x0, x1] = xAxis.domain ?? [0, 1];
    const [y0, y1] = yAxis.domain ?? [0, 1];
    const box = {
      x: plot.x + x0 * plot.width,
      y: plot.y + (1 - y1) * plot.height,
      width: (x1 - x0) * plot.width,
      height: (y1 - y0) * plot.height,
    };
    const stacked = figure.layout.barmode === "stack";
    const xScale = scaleOf(xAxis, traces, "x", stacked, [box.x, box.x + box.width]);
    const yScale = scaleOf(yAxis, traces, "y", stacked, [box.y + box.height, box.y]);
    return {
      box,
      traces,
      xScale,
      yScale,
      xAxis,
      yAxis,
      xName,
      yName,
      stacked,
      barGap: figure.layout.bargap ?? 0.25,
    };
  });
}

function axisOf(figure: Figure, kind: "xaxis" | "yaxis", name: string): Axis {
  const suffix = name.slice(1);
  const layout = figure.layout as unknown as Record<string, Axis | undefined>;
  return layout[`${kind}${suffix}`] ?? {};
}

function drawPane(pane: DrawnPane, figure: Figure): string[] {
  const { box, xScale, yScale } = pane;
  const parts: string[] = [];
  for (const tick of niceTicks(xScale, pane.xAxis, Math.max(3, Math.floor(box.width / 70)))) {
    const x = round(xScale.place(tick.value));
    if (xScale.kind !== "category") parts.push(line(x, box.y, x, box.y + box.height, GRID));
    parts.push(text(x, box.y + box.height + 16, tick.label, { anchor: "middle" }));
  }
  for (const tick of niceTicks(yScale, pane.yAxis, Math.max(3, Math.floor(box.height / 32)))) {
    const y = round(yScale.place(tick.value));
    if (yScale.kind !== "category") parts.push(line(box.x, y, box.x + box.width, y, GRID));
    parts.push(text(box.x - 6, y + 4, tick.label, { anchor: "end" }));
  }
  parts.push(...drawTrace(pane));
  for (const shape of figure.layout.shapes ?? []) {
    if (shapeIn(shape, pane)) parts.push(drawShape(shape, xScale, yScale, box));
  }
  if (pane.xAxis.title) {
    parts.push(
      text(box.x + box.width / 2, box.y + box.height + 34, pane.xAxis.title.text, { anchor: "middle" }),
    );
  }
  if (pane.yAxis.title && yScale.kind !== "category") {
    const y = box.y + box.height / 2;
    const x = round(box.x - 48);
    parts.push(
      `<text x="${x}" y="${round(y)}" text-anchor="middle" transform="rotate(-90 ${x} ${round(y)})">${escapeXml(pane.yAxis.title.text)}</text>`,
    );
  }
  return parts;
}

function shapeIn(shape: LineShape, pane: DrawnPane): boolean {
  const xFits = shape.xref === pane.xName || shape.xref === "paper";
  const yFits = shape.yref === pane.yName || shape.yref === "paper";
  return xFits && yFits;
}

function drawShape(shape: LineShape, xScale: Scale, yScale: Scale, box: Pane["box"]): string {
  const x = (value: number): number =>
    shape.xref === "paper" ? box.x + value * box.width : xScale.place(value);
  const y = (value: number): number =>
    shape.yref === "paper" ? box.y + (1 - value) * box.height : yScale.place(value);
  return `<line x1="${round(x(shape.x0))}" y1="${round(y(shape.y0))}" x2="${round(x(shape.x1))}" y2="${round(y(shape.y1))}" stroke="${shape.line.color}" stroke-width="${shape.line.width}"${dashed(shape.line.dash)}/>`;
}

function drawAnnotations(
  figure: Figure,
  plot: { x: number; y: number; width: number; height: number },
): string[] {
  const all = panes(figure, plot);
  return (figure.layout.annotations ?? []).map((note: Annotation) => {
    const pane = all.find(
      (p) =>
        (note.xref === "paper" || p.xName === note.xref) && (note.yref === "paper" || p.yName === note.yref),
    );
    const x = note.xref === "paper" ? plot.x + note.x * plot.width : (pane?.xScale.place(note.x) ?? plot.x);
    const y =
      note.yref === "paper" ? plot.y + (1 - note.y) * plot.height : (pane?.yScale.place(note.y) ?? plot.y);
    const anchor = note.xanchor === "right" ? "end" : note.xanchor === "center" ? "middle" : "start";
    const shift = note.yanchor === "top" ? 12 : note.yanchor === "bottom" ? -4 : 4;
    return text(x, y + shift, note.text, { anchor, ...(note.font?.size ? { size: note.font.size } : {}) });
  });
}

function text(
  x: number,
  y: number,
  content: string,
  options: { anchor?: string; size?: number } = {},
): string {
  const anchor = options.anchor ? ` text-anchor="${options.anchor}"` : "";
  const size = options.size ? ` font-size="${options.size}"` : "";
  return `<text x="${round(x)}" y="${round(y)}"${anchor}${size}>${escapeXml(content)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, color: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${color}"/>`;
}

/** Text that may hold anything, safe inside XML. Plotly's line breaks become spaces. */
export function escapeXml(value: string): string {
  return value
    .replace(/<br>/g, " ")
    .replace(/<\/?[bi]>/g, "")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
