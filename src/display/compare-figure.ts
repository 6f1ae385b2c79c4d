import type { Prediction, StageTime } from "../cost/prediction.js";
import { TIME_TERMS } from "./cost-figure.js";
import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";
import { TIME_COLORS, TIME_LABELS } from "./palette.js";

/** A plan, or a run of one, to be set beside others. */
export interface Compared {
  readonly name: string;
  readonly prediction: Prediction;
  readonly measuredStepMs?: number;
  readonly peakMemoryBytes?: number;
}

/** Two or more plans side by side: the mean stage's terms stacked to the step, and the measured step as a diamond. */
export function compareFigure(compared: readonly Compared[]): Figure {
  const names = compared.map((c) => c.name);
  const mean = (c: Compared, term: keyof StageTime): number =>
    c.prediction.stages.reduce((sum, stage) => sum + stage.time[term], 0) / c.prediction.stages.length;
  const bars = TIME_TERMS.filter(([term]) => compared.some((c) => mean(c, term) > 0)).map(
    ([term, kind]): BarTrace => ({
      type: "bar",
      orientation: "h",
      name: TIME_LABELS[kind],
      x: compared.map((c) => Number(mean(c, term).toPrecision(4))),
      y: names,
      hovertemplate: `${TIME_LABELS[kind]}: %{x:.2f} ms<extra></extra>`,
      marker: {
        color: TIME_COLORS[kind],
        ...(kind === "bubble" && { pattern: { shape: "/", fgcolor: "#8a8a8a", size: 6 } }),
      },
    }),
  );
  const measured = compared.filter((c) => c.measuredStepMs !== undefined);
  return {
    data: [
      ...bars,
      ...(measured.length === 0
        ? []
        : [
            {
              type: "scatter",
              mode: "markers",
              name: "measured step",
              x: measured.map((c) => Number(c.measuredStepMs!.toPrecision(4))),
              y: measured.map((c) => c.name),
              marker: { color: "#D55E00", size: 11, symbol: "diamond" },
            } as const,
          ]),
    ],
    layout: {
      ...baseLayout("Plans side by side: time of a step", 190 + 40 * names.length),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      xaxis: axis("ms per step", { rangemode: "tozero" }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
    },
  };
}
