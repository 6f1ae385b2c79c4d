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
  budgetBytes: number | null,
  measuredPeakBytes: readonly number[] = [],
): Figure {
  const names = prediction.stages.map((_, stage) => `stage ${stage}`);
  const highest = Math.max(
    budgetBytes ?? 0,
    ...measuredPeakBytes,
    ...prediction.stages.map((s) => s.memory.totalBytes),
  );
  const { unit, bytes } = memoryUnit(highest);
  const bars = CATEGORIES.filter(([key]) => prediction.stages.some((s) => s.memory[key] > 0)).map(
    ([key, label]): BarTrace => ({
      type: "bar",
      orientation: "h",
      name: label,
      x: prediction.stages.map((s) => Number((s.memory[key] / bytes).toPrecision(5))),
      y: names,
      hovertemplate: `${label}: %{x} ${unit}<extra></extra>`,
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
            x: measuredPeakBytes.map((peak) => peak / bytes),
            y: names,
            marker: { color: "#D55E00", size: 11, symbol: "diamond" },
          },
        ];
  return {
    data: [...bars, ...measured],
    layout: {
      ...baseLayout(
        `Memory of the fullest rank of each stage${budgetBytes === null ? "" : ` against ${formatBytes(budgetBytes)}`}`,
        190 + rowsPx(names.length),
      ),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      xaxis: axis(unit, { range: [0, (highest / bytes) * 1.08] }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
      ...(budgetBytes !== null && marked(budgetBytes / bytes, "budget", "#D55E00")),
    },
  };
}

/** The unit of an axis that goes up to so many bytes. */
export function memoryUnit(highest: number): { readonly unit: "MB" | "GB"; readonly bytes: number } {
  return highest >= 4 * BYTES_PER_GB
    ? { unit: "GB", bytes: BYTES_PER_GB }
    : { unit: "MB", bytes: BYTES_PER_MB };
}

/** 1536 MB → "1.5 GB"; below one GB in MB. */
function formatBytes(bytes: number): string {
  return bytes >= BYTES_PER_GB
    ? `${Number((bytes / BYTES_PER_GB).toPrecision(3))} GB`
    : `${Number((bytes / BYTES_PER_MB).toPrecision(3))} MB`;
}
