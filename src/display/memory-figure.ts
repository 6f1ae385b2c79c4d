import { BYTES_PER_GB, BYTES_PER_MB } from "../base/units.js";
import type { Prediction, StageMemory } from "../cost/prediction.js";
import { axis, type BarTrace, baseLayout, type Figure, marked, rowsPx, type ScatterTrace } from "./figure.js";
import { memoryMarker } from "./palette.js";

const CATEGORIES: readonly (readonly [keyof StageMemory, string])[] = [
  ["parameterBytes", "parameters"],
  ["gradientBytes", "gradients"],
  ["optimizerBytes", "optimizer state"],
  ["activationBytes", "activations"],
  ["transientBytes", "transient"],
  ["workspaceBytes", "graph workspace"],
  ["reservedBytes", "fixed reserve"],
];

/**
 * What fills the budget: categories of every stage's fullest rank, stacked, with the budget as a line and, where a run
 * has measured them, the peaks the operating system counted as diamonds.
 */
export function memoryFigure(
  prediction: Prediction,
  budgetBytes: number,
  measuredPeakBytes: readonly number[] = [],
): Figure {
  const names = prediction.stages.map((_, stage) => `stage ${stage}`);
  const bars = CATEGORIES.filter(([key]) => prediction.stages.some((s) => s.memory[key] > 0)).map(
    ([key, label]): BarTrace => ({
      type: "bar",
      orientation: "h",
      name: label,
      x: prediction.stages.map((s) => Number((s.memory[key] / BYTES_PER_MB).toPrecision(6))),
      y: names,
      hovertemplate: `${label}: %{x:.1f} MB<extra></extra>`,
      marker: memoryMarker(label),
    }),
  );
  const measured: ScatterTrace[] =
    measuredPeakBytes.length === 0
      ? []
      : [
          {
            type: "scatter",
            mode: "markers",
            name: "measured peak",
            x: measuredPeakBytes.map((bytes) => bytes / BYTES_PER_MB),
            y: names,
            marker: { color: "#D55E00", size: 11, symbol: "diamond" },
          },
        ];
  const budgetMB = budgetBytes / BYTES_PER_MB;
  const highest = Math.max(budgetMB, ...prediction.stages.map((s) => s.memory.totalBytes / BYTES_PER_MB));
  return {
    data: [...bars, ...measured],
    layout: {
      ...baseLayout(
        `Memory of the fullest rank of each stage against ${formatBytes(budgetBytes)}`,
        190 + rowsPx(names.length),
      ),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      xaxis: axis("MB", { range: [0, highest * 1.08] }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
      ...marked(budgetMB, "budget", "#D55E00"),
    },
  };
}

/** 1536 MB → "1.5 GB"; below one GB in MB. */
export function formatBytes(bytes: number): string {
  return bytes >= BYTES_PER_GB
    ? `${Number((bytes / BYTES_PER_GB).toPrecision(3))} GB`
    : `${Number((bytes / BYTES_PER_MB).toPrecision(3))} MB`;
}
