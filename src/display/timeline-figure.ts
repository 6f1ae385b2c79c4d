import type { InstructionLabel } from "../program/program.js";
import type { SpanKind, Timeline, TimelineSpan } from "../program/timeline.js";
import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";
import { TIME_COLORS, TIME_LABELS } from "./palette.js";

/** Bars of one timeline beyond which neighbours of a kind are drawn as one, so that a notebook stays small. */
const MAX_BARS = 1500;

const ROW_PX = 24;
/** Between two timelines: the ticks and title of the upper one. */
const GAP_PX = 60;
const MARGINS_PX = 140;

/**
 * One step per rank and stream over time; the first timeline on top. Give the predicted and the measured one to see
 * where they part.
 */
export function timelineFigure(timelines: readonly Timeline[], title: string = "One training step"): Figure {
  const data: BarTrace[] = [];
  const axes: Record<string, ReturnType<typeof axis>> = {};
  const seen = new Set<SpanKind>();
  const longestMs = Math.max(...timelines.map((t) => t.stepMs));
  const drawn = timelines.map((timeline) => coalesce(timeline.spans, longestMs));
  const rowsOf = drawn.map((spans) => new Set(spans.map(rowName)).size);
  const plotPx = sum(rowsOf) * ROW_PX + (timelines.length - 1) * GAP_PX;
  let topPx = plotPx;
  for (const [index, timeline] of timelines.entries()) {
    const suffix = index === 0 ? "" : String(index + 1);
    const spans = drawn[index]!;
    for (const kind of Object.keys(TIME_COLORS) as SpanKind[]) {
      const own = spans.filter((span) => span.kind === kind);
      if (own.length === 0) continue;
      data.push({
        type: "bar",
        orientation: "h",
        name: TIME_LABELS[kind],
        legendgroup: kind,
        showlegend: !seen.has(kind),
        xaxis: `x${suffix}`,
        yaxis: `y${suffix}`,
        base: own.map((span) => digits(span.startMs)),
        x: own.map((span) => digits(span.endMs - span.startMs)),
        y: own.map(rowName),
        hovertext: own.map((span) => `${describe(span.label)}: ${digits(span.endMs - span.startMs)} ms`),
        hoverinfo: "text",
        marker: { color: TIME_COLORS[kind], line: { color: "rgba(255,255,255,0.6)", width: 0.5 } },
      });
      seen.add(kind);
    }
    const bottomPx = Math.max(0, topPx - rowsOf[index]! * ROW_PX);
    const domain = [bottomPx / plotPx, topPx / plotPx] as const;
    topPx = bottomPx - GAP_PX;
    axes[`xaxis${suffix}`] = axis(`${timeline.source}, ms`, {
      range: [0, longestMs * 1.02],
      anchor: `y${suffix}`,
      ...(index > 0 && { matches: "x" }),
    });
    axes[`yaxis${suffix}`] = axis("", {
      type: "category",
      autorange: "reversed",
      domain,
      anchor: `x${suffix}`,
    });
  }
  const steps = timelines.map((t) => `${t.source} ${digits(t.stepMs)} ms`).join(", ");
  return {
    data,
    layout: {
      ...baseLayout(`${title}: ${steps}`, MARGINS_PX + plotPx),
      barmode: "overlay",
      bargap: 0.2,
      showlegend: true,
      ...axes,
    },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
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

function rowName(span: TimelineSpan): string {
  return `rank ${span.rank}${STREAM_NAMES[span.stream] ?? ` ${span.stream}`}`;
}

function describe(label: InstructionLabel): string {
  const layer = label.layer === undefined ? "" : label.layer < 0 ? " embedding" : ` layer ${label.layer}`;
  const microBatch = label.microBatch === undefined ? "" : ` micro-batch ${label.microBatch}`;
  return `${label.phase}${layer}${microBatch}`;
}

/** Joins neighbours of one row and kind that are closer than a pixel, wider pixels the more bars there are. */
function coalesce(spans: readonly TimelineSpan[], totalMs: number): TimelineSpan[] {
  const rows = new Map<string, TimelineSpan[]>();
  for (const span of spans) {
    const key = `${rowName(span)} ${span.kind} ${span.label.phase}`;
    rows.set(key, [...(rows.get(key) ?? []), span]);
  }
  for (let gapMs = 0; ; gapMs = gapMs === 0 ? totalMs / 2000 : gapMs * 2) {
    const joined = [...rows.values()].flatMap((row) => join(row, gapMs));
    if (joined.length <= MAX_BARS || gapMs > totalMs) return joined.sort(byRank);
  }
}

function join(row: readonly TimelineSpan[], gapMs: number): TimelineSpan[] {
  if (gapMs === 0) return [...row];
  const out: TimelineSpan[] = [];
  for (const span of [...row].sort((a, b) => a.startMs - b.startMs)) {
    const previous = out.at(-1);
    if (previous && span.startMs - previous.endMs < gapMs) {
      out[out.length - 1] = { ...previous, endMs: Math.max(previous.endMs, span.endMs) };
    } else out.push(span);
  }
  return out;
}

function byRank(a: TimelineSpan, b: TimelineSpan): number {
  return a.rank - b.rank || a.stream.localeCompare(b.stream) || a.startMs - b.startMs;
}

function digits(ms: number): number {
  return Number(ms.toPrecision(4));
}
