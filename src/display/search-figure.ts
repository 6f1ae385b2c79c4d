import type { ParetoPoint } from "../search/pareto-front.js";
import type { Candidate, SearchReport } from "../search/search-report.js";
import { axis, baseLayout, type Figure, INK, marked, type ScatterTrace } from "./figure.js";
import { memoryUnit } from "./memory-figure.js";

type Status = Candidate["status"];

/** How each end of a candidate is drawn and told. */
const ENDS: readonly (readonly [Status, string, NonNullable<ScatterTrace["marker"]>])[] = [
  ["ok", "searched", { color: "#0072B2", size: 9, symbol: "circle" }],
  ["pruned", "proven slower", { color: "#56B4E9", size: 8, symbol: "square" }],
  ["no-plan-fits", "fits no plan", { color: "#D55E00", size: 8, symbol: "x" }],
  ["invalid", "divides nothing", { color: "#9a9a9a", size: 5, symbol: "x" }],
];

/** What a landscape shows beyond its report. */
export interface LandscapeMore {
  /** Pareto front by `paretoFront`; without it that of the candidates is drawn. */
  readonly front?: readonly ParetoPoint[];
  /** The report by `completeReport`: best plans of the candidates that were only proven slower are drawn, too. */
  readonly complete?: SearchReport;
}

/**
 * Search landscape. Left: what memory buys; the best plan of every candidate that is known, and the plans that no other
 * beats in memory and speed at once. Right: every outer choice of the winner's batch, and why it did not win.
 */
export function searchFigure(
  report: SearchReport,
  { front = [], complete = report }: LandscapeMore = {},
): Figure {
  const pruned = report.candidates.map(({ status }) => status === "pruned");
  const slower = complete.candidates.filter(({ status }, index) => pruned[index] && status === "ok");
  const fitting = report.candidates.filter(
    (c) => c.status === "ok" && c.memoryBytes !== null && c.samplesPerSecond !== null,
  );
  const joined = front.length > 0 ? front.map(frontPoint) : candidateFront([...fitting, ...slower]);
  const chosen: Place = {
    memoryBytes: Math.max(...report.prediction.stages.map(({ memory }) => memory.totalBytes)),
    samplesPerSecond: report.prediction.samplesPerSecond,
    text: "the chosen plan",
  };
  const points = [...fitting, ...slower].map(place).concat(joined, chosen);
  const widest = Math.max(report.budgetBytes, ...points.map((p) => p.memoryBytes));
  const { unit, bytes } = memoryUnit(widest);
  const scatter = scatterIn(unit, bytes);
  return {
    data: [
      scatter("best for its memory", joined, "lines+markers", {
        color: INK,
        size: 5,
        symbol: "circle",
      }),
      ...(slower.length > 0
        ? [{ ...scatter("proven slower", slower.map(place), "markers", ENDS[1]![2]), showlegend: false }]
        : []),
      scatter("searched", fitting.map(place), "markers", ENDS[0]![2]),
      scatter("chosen", [chosen], "markers", { color: "#E69F00", size: 13, symbol: "diamond" }),
      ...outcomes(report, complete),
    ],
    layout: {
      ...baseLayout(
        `${report.candidates.length} outer choices: what memory buys, and why the others lost`,
        400,
      ),
      showlegend: true,
      xaxis: axis(`memory of the fullest rank, ${unit}`, {
        range: [0, (widest / bytes) * 1.05],
        domain: [0, 0.47],
      }),
      yaxis: axis("samples per second", { rangemode: "tozero" }),
      xaxis2: axis(`micro-batches (batch ${report.plan.globalBatch})`, {
        type: "category",
        domain: [0.66, 1],
        anchor: "y2",
        showgrid: false,
      }),
      yaxis2: axis("", { type: "category", anchor: "x2", showgrid: false }),
      ...marked(report.budgetBytes / bytes, "budget", "#D55E00"),
    },
  };
}

interface Place {
  readonly memoryBytes: number;
  readonly samplesPerSecond: number;
  readonly text: string;
}

type Scatter = (
  name: string,
  places: readonly Place[],
  mode: ScatterTrace["mode"],
  marker: NonNullable<ScatterTrace["marker"]>,
) => ScatterTrace;

/** Traces of the left pane, in the unit of its axis. */
function scatterIn(unit: string, bytes: number): Scatter {
  return (name, places, mode, marker) => ({
    type: "scatter",
    mode,
    name,
    legendgroup: name,
    x: places.map((p) => Number((p.memoryBytes / bytes).toPrecision(5))),
    y: places.map((p) => Number(p.samplesPerSecond.toPrecision(5))),
    text: places.map((p) => p.text),
    hovertemplate: `%{text}<br>%{x} ${unit}, %{y} samples/s<extra></extra>`,
    ...(mode !== "markers" && { line: { color: marker.color, width: 1.5, shape: "hv" } }),
    marker,
  });
}

/** One mark for each outer choice of the winner's batch: micro-batches across, stages (and schedule) up. */
function outcomes({ candidates, plan }: SearchReport, complete: SearchReport): ScatterTrace[] {
  const told = candidates.map((c, index): Candidate => {
    const known = complete.candidates[index]!;
    return { ...(known.status === "no-plan-fits" ? known : c), reason: known.reason };
  });
  const own = told.filter(({ globalBatch }) => globalBatch === plan.globalBatch);
  const counts = [...new Set(own.map(({ microBatches }) => microBatches))].sort((a, b) => a - b);
  const rows = [...new Set(own.map(({ stages }) => stages))].sort((a, b) => a - b);
  const row = (c: Pick<Candidate, "stages" | "schedule">): string =>
    `${c.stages} ${c.stages === 1 ? "stage" : "stages"}${c.schedule === "gpipe" ? ", gpipe" : ""}`;
  // Axes of categories take the order in which they are first seen: an unseen trace fixes it.
  const order: ScatterTrace = {
    ...OUTCOME,
    name: "order",
    showlegend: false,
    x: [...counts.map(String), ...rows.flatMap(() => [String(counts[0]), String(counts[0])])],
    y: [
      ...counts.map(() => row({ stages: rows[0] ?? 1, schedule: "1f1b" })),
      ...rows.flatMap((stages) =>
        (["1f1b", "gpipe"] as const).map((schedule) =>
          own.some((c) => c.stages === stages && c.schedule === schedule)
            ? row({ stages, schedule })
            : row({ stages: rows[0] ?? 1, schedule: "1f1b" }),
        ),
      ),
    ],
    hoverinfo: "skip",
    marker: { color: "rgba(0,0,0,0)", size: 1 },
  };
  const traces = ENDS.flatMap(([status, name, marker]): ScatterTrace[] => {
    const ended = own.filter((c) => c.status === status);
    if (ended.length === 0) return [];
    return [
      {
        ...OUTCOME,
        name,
        legendgroup: name,
        showlegend: status !== "ok",
        x: ended.map((c) => String(c.microBatches)),
        y: ended.map(row),
        text: ended.map((c) => c.reason || `${Number((c.stepMs ?? 0).toPrecision(4))} ms a step`),
        hovertemplate: "%{y}, %{x} micro-batches: %{text}<extra></extra>",
        marker,
      },
    ];
  });
  const winner: ScatterTrace = {
    ...OUTCOME,
    name: "chosen",
    legendgroup: "chosen",
    showlegend: false,
    x: [String(plan.microBatches)],
    y: [row({ stages: plan.stageLayers.length, schedule: plan.schedule })],
    marker: { color: "#E69F00", size: 13, symbol: "diamond" },
  };
  return own.length === 0 ? [] : [order, ...traces, winner];
}

const OUTCOME = { type: "scatter", mode: "markers", xaxis: "x2", yaxis: "y2" } as const;

function frontPoint({ memoryBytes, samplesPerSecond, plan }: ParetoPoint): Place {
  const text = `batch ${plan.globalBatch}, ${plan.microBatches} micro-batches, ${plan.stageLayers.length} stages`;
  return { memoryBytes, samplesPerSecond, text };
}

function place(c: Candidate): Place {
  return {
    memoryBytes: c.memoryBytes!,
    samplesPerSecond: c.samplesPerSecond!,
    text: `batch ${c.globalBatch}, ${c.microBatches} micro-batches, ${c.stages} stages, ${c.schedule}`,
  };
}

/** Candidates that no other beats in memory and throughput at once, by rising memory. */
function candidateFront(candidates: readonly Candidate[]): Place[] {
  const sorted = candidates
    .map(place)
    .sort((a, b) => a.memoryBytes - b.memoryBytes || b.samplesPerSecond - a.samplesPerSecond);
  let best = Number.NEGATIVE_INFINITY;
  return sorted.filter(({ samplesPerSecond }) => {
    if (samplesPerSecond <= best) return false;
    best = samplesPerSecond;
    return true;
  });
}
