import { BYTES_PER_MB } from "../base/units.js";
import type { Candidate, SearchReport } from "../search/search-report.js";
import { axis, baseLayout, type Figure, type ScatterTrace } from "./figure.js";

/** Search landscape: every candidate's memory against its throughput; what no candidate beats in both is joined. */
export function searchFigure(report: SearchReport): Figure {
  const fitting = report.candidates.filter(
    (c) => c.status === "ok" && c.memoryBytes !== null && c.samplesPerSecond !== null,
  );
  const front = paretoFront(fitting);
  const points = (candidates: readonly Candidate[]): Pick<ScatterTrace, "x" | "y" | "text"> => ({
    x: candidates.map((c) => Number((c.memoryBytes! / BYTES_PER_MB).toPrecision(5))),
    y: candidates.map((c) => Number(c.samplesPerSecond!.toPrecision(5))),
    text: candidates.map(describe),
  });
  const best = fitting.reduce<Candidate | undefined>(
    (a, c) => (a === undefined || c.samplesPerSecond! > a.samplesPerSecond! ? c : a),
    undefined,
  );
  const budgetMB = report.budgetBytes / BYTES_PER_MB;
  const widestMB = Math.max(budgetMB, ...fitting.map((c) => c.memoryBytes! / BYTES_PER_MB));
  const failed = report.candidates.length - fitting.length;
  return {
    data: [
      {
        type: "scatter",
        mode: "markers",
        name: "candidate",
        ...points(fitting),
        marker: { color: "#56B4E9", size: 7 },
      },
      {
        type: "scatter",
        mode: "lines",
        name: "nothing better in both",
        ...points(front),
        line: { color: "#5B5B5B", width: 1.5, shape: "hv" },
      },
      ...(best
        ? [
            {
              type: "scatter",
              mode: "markers",
              name: "chosen",
              ...points([best]),
              marker: { color: "#D55E00", size: 12, symbol: "diamond" },
            } as const,
          ]
        : []),
    ],
    layout: {
      ...baseLayout(
        `${report.candidates.length} candidates in ${Number(report.searchMs.toPrecision(3))} ms; ${failed} do not fit or cannot win`,
        360,
      ),
      showlegend: true,
      xaxis: axis("memory of the fullest rank, MB", { range: [0, widestMB * 1.05] }),
      yaxis: axis("samples per second", { rangemode: "tozero" }),
      shapes: [
        {
          type: "line",
          xref: "x",
          yref: "paper",
          x0: budgetMB,
          x1: budgetMB,
          y0: 0,
          y1: 1,
          line: { color: "#D55E00", width: 1.5, dash: "dash" },
        },
      ],
    },
  };
}

/** Candidates that no other beats in memory and throughput at once, by rising memory. */
function paretoFront(candidates: readonly Candidate[]): Candidate[] {
  const sorted = [...candidates].sort(
    (a, b) => a.memoryBytes! - b.memoryBytes! || b.samplesPerSecond! - a.samplesPerSecond!,
  );
  let best = Number.NEGATIVE_INFINITY;
  return sorted.filter((c) => {
    const better = c.samplesPerSecond! > best;
    if (better) best = c.samplesPerSecond!;
    return better;
  });
}

function describe(c: Candidate): string {
  return `batch ${c.globalBatch}, ${c.microBatches} micro-batches, ${c.stages} stages, ${c.schedule}`;
}
