import type { InstructionLabel } from "../program/program.js";
import type { SpanKind, Timeline, TimelineSpan } from "../program/timeline.js";
import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";
import { TIME_LABELS, timeMarker } from "./palette.js";

/** Bars of one timeline beyond which neighbours of a kind are drawn as one, so that a notebook stays small. */
const MAX_BARS = 320;

const ROW_PX = 24;
/** Between two timelines: the ticks and title of the upper one. */
const GAP_PX = 60;
const MARGINS_PX = 140;

/** Gaps of the compute stream shorter than this share of the step are not drawn as waiting. */
const LEAST_GAP = 0.004;

/** Bars of different passes are joined up to so many times the gap that joins bars of one. */
const MERGED = 8;

/** A span as it is drawn; waiting is one too. */
interface Drawn {
  readonly row: number;
  readonly kind: SpanKind | "bubble";
  readonly text: string;
  readonly startMs: number;
  readonly endMs: number;
}

/**
 * One step per rank and stream over time; the first timeline on top. Give the predicted and the measured one to see
 * where they part. Both axes of time move together when one is zoomed.
 */
export function timelineFigure(timelines: readonly Timeline[], title: string = "One step"): Figure {
  const longestMs = Math.max(...timelines.map((t) => t.stepMs));
  const panes = timelines.map((timeline) => {
    const rows = [...new Set([...timeline.spans].sort(byRank).map(rowName))];
    return { timeline, rows, drawn: drawnSpans(timeline, rows, longestMs) };
  });
  const plotPx = panes.reduce((sum, { rows }) => sum + rows.length * ROW_PX, (panes.length - 1) * GAP_PX);
  const data: BarTrace[] = [];
  const axes: Record<string, ReturnType<typeof axis>> = {};
  const seen = new Set<string>();
  let topPx = plotPx;
  for (const [index, { timeline, rows, drawn }] of panes.entries()) {
    const suffix = index === 0 ? "" : String(index + 1);
    for (const kind of Object.keys(TIME_LABELS) as (SpanKind | "bubble")[]) {
      const own = drawn.filter((span) => span.kind === kind);
      if (own.length === 0 && kind !== "bubble") continue;
      data.push(barsOf(kind, own, suffix, !seen.has(kind)));
      seen.add(kind);
    }
    const bottomPx = Math.max(0, topPx - rows.length * ROW_PX);
    axes[`xaxis${suffix}`] = axis(`${timeline.source}, ms`, {
      range: [0, longestMs * 1.02],
      anchor: `y${suffix}`,
      ...(index > 0 && { matches: "x" }),
    });
    axes[`yaxis${suffix}`] = axis("", {
      range: [rows.length - 0.5, -0.5],
      tickvals: rows.map((_, row) => row),
      ticktext: rows,
      showgrid: false,
      domain: [bottomPx / plotPx, topPx / plotPx],
      anchor: `x${suffix}`,
    });
    topPx = bottomPx - GAP_PX;
  }
  const steps = timelines.map((t) => `${t.source} ${digits(t.stepMs)} ms`).join(", ");
  return {
    data,
    layout: {
      ...baseLayout(`${title}: ${steps}`, MARGINS_PX + plotPx),
      barmode: "overlay",
      showlegend: true,
      ...axes,
    },
  };
}

function barsOf(
  kind: SpanKind | "bubble",
  spans: readonly Drawn[],
  suffix: string,
  showlegend: boolean,
): BarTrace {
  const words = spans.map(({ text }) => text);
  return {
    type: "bar",
    orientation: "h",
    name: TIME_LABELS[kind],
    legendgroup: kind,
    showlegend,
    xaxis: `x${suffix}`,
    yaxis: `y${suffix}`,
    base: spans.map((span) => digits(span.startMs)),
    x: spans.map((span) => digits(span.endMs - span.startMs)),
    y: spans.map(({ row }) => row),
    width: 0.8,
    ...(kind !== "bubble" && { text: words, textposition: "none" }),
    hovertemplate: `${kind === "bubble" ? "waiting" : "%{text}"}: %{x} ms from %{base}<extra></extra>`,
    marker: timeMarker(kind),
  };
}

const STREAM_NAMES: Readonly<Record<string, string>> = {
  compute: "",
  gather: " gathers",
  reduce: " reductions",
  activationsIn: " receives",
  gradientsIn: " receives",
  activationsOut: " sends",
  gradientsOut: " sends",
};

function rowName(span: Pick<TimelineSpan, "rank" | "stream">): string {
  return `rank ${span.rank}${STREAM_NAMES[span.stream] ?? ` ${span.stream}`}`;
}

/** "backward 3·1": phase, layer, micro-batch. */
function words({ phase, layer, microBatch }: InstructionLabel): string {
  const where = layer === undefined ? "" : layer < 0 ? " embedding" : ` ${layer}`;
  return `${phase}${where}${microBatch === undefined ? "" : `·${microBatch}`}`;
}

/**
 * Busy spans and waiting. Neighbours of one row and kind that are closer than a pixel are one bar, and wider pixels
 * are taken the more bars there are; a joined bar is named by its first and last instruction.
 */
function drawnSpans(timeline: Timeline, rows: readonly string[], totalMs: number): Drawn[] {
  const lines = new Map<string, TimelineSpan[]>();
  for (const span of timeline.spans) {
    const key = `${rowName(span)} ${span.kind}`;
    const line = lines.get(key);
    if (line) line.push(span);
    else lines.set(key, [span]);
  }
  for (const line of lines.values()) line.sort((a, b) => a.startMs - b.startMs);
  const waiting = rows.flatMap((name, row) =>
    gaps(
      timeline.spans.filter((span) => span.stream === "compute" && rowName(span) === name),
      timeline.stepMs,
      row,
    ),
  );
  for (let gapMs = totalMs / 2000; ; gapMs *= 1.5) {
    const joined = [...lines.values()].flatMap((line) => join(line, rows, gapMs));
    if (joined.length <= MAX_BARS || gapMs > totalMs) return [...joined, ...waiting];
  }
}

function join(line: readonly TimelineSpan[], rows: readonly string[], gapMs: number): Drawn[] {
  const out: Drawn[] = [];
  let from: TimelineSpan | undefined;
  let [startMs, endMs] = [0, 0];
  let to: TimelineSpan | undefined;
  const close = (): void => {
    if (!from || !to) return;
    const [first, last] = [words(from.label), words(to.label)];
    const text = first === last ? first : `${first} … ${last}`;
    out.push({ row: rows.indexOf(rowName(from)), kind: from.kind, text, startMs, endMs });
  };
  for (const span of line) {
    const isNeighbour =
      from && span.startMs - endMs < gapMs && (samePass(from, span) || span.endMs - startMs < MERGED * gapMs);
    if (!isNeighbour) {
      close();
      from = span;
      startMs = span.startMs;
      endMs = span.endMs;
    }
    endMs = Math.max(endMs, span.endMs);
    to = span;
  }
  close();
  return out;
}

/** One layer's pass over one micro-batch. */
function samePass(a: TimelineSpan, b: TimelineSpan): boolean {
  return (
    a.label.phase === b.label.phase &&
    a.label.layer === b.label.layer &&
    a.label.microBatch === b.label.microBatch
  );
}

/** Where a rank's compute stream has nothing to do. */
function gaps(spans: readonly TimelineSpan[], stepMs: number, row: number): Drawn[] {
  if (spans.length === 0) return [];
  const out: Drawn[] = [];
  let busyUntil = 0;
  const note = (startMs: number, endMs: number): void => {
    if (endMs - startMs >= LEAST_GAP * stepMs) out.push({ row, kind: "bubble", text: "", startMs, endMs });
  };
  for (const span of [...spans].sort((a, b) => a.startMs - b.startMs)) {
    note(busyUntil, span.startMs);
    busyUntil = Math.max(busyUntil, span.endMs);
  }
  note(busyUntil, stepMs);
  return out;
}

function byRank(a: TimelineSpan, b: TimelineSpan): number {
  return a.rank - b.rank || (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : 0);
}

function digits(ms: number): number {
  return Number(ms.toPrecision(4));
}
