import type { Prediction, StageTime } from "../cost/prediction.js";
import { TIME_TERMS } from "./cost-figure.js";
import { axis, type BarTrace, baseLayout, type Figure, rowsPx, type ScatterTrace } from "./figure.js";
import { memoryUnit } from "./memory-figure.js";
import { TIME_LABELS, timeMarker } from "./palette.js";

/** A plan, or a run of one, to be set beside others. */
export interface Compared {
  readonly name: string;
  readonly prediction: Prediction;
  readonly measuredStepMs?: number;
  readonly peakMemoryBytes?: number;
}

/**
 * Two or more plans side by side. Left: the mean stage's terms stacked to the step, the measured step as a diamond.
 * Right: memory of the fullest rank, the measured peak as a diamond.
 */
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
      marker: timeMarker(kind),
    }),
  );
  const predicted = compared.map((c) => Math.max(...c.prediction.stages.map((s) => s.memory.totalBytes)));
  const { unit, bytes } = memoryUnit(Math.max(...predicted, ...compared.map((c) => c.peakMemoryBytes ?? 0)));
  const scaled = (memoryBytes: number): number => Number((memoryBytes / bytes).toPrecision(4));
  const memory: BarTrace = {
    type: "bar",
    orientation: "h",
    name: "memory, predicted",
    xaxis: "x2",
    yaxis: "y2",
    x: predicted.map(scaled),
    y: names,
    hovertemplate: `predicted: %{x} ${unit}<extra></extra>`,
    marker: { color: "#D0D0D0" },
  };
  const measuredSteps = compared.filter((c) => c.measuredStepMs !== undefined);
  const measuredPeaks = compared.filter((c) => c.peakMemoryBytes !== undefined);
  return {
    data: [
      ...bars,
      memory,
      ...(measuredSteps.length === 0
        ? []
        : [
            diamonds(
              "",
              measuredSteps.map((c) => Number(c.measuredStepMs!.toPrecision(4))),
              measuredSteps,
            ),
          ]),
      ...(measuredPeaks.length === 0
        ? []
        : [
            diamonds(
              "2",
              measuredPeaks.map((c) => scaled(c.peakMemoryBytes!)),
              measuredPeaks,
            ),
          ]),
    ],
    layout: {
      ...baseLayout("Side by side: time of a step, memory of the fullest rank", 200 + rowsPx(names.length)),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      xaxis: axis("ms per step", { rangemode: "tozero", domain: [0, 0.58] }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
      xaxis2: axis(unit, { rangemode: "tozero", domain: [0.64, 1], anchor: "y2" }),
      yaxis2: axis("", { type: "category", autorange: "reversed", anchor: "x2", tickvals: [], ticktext: [] }),
    },
  };
}

function diamonds(suffix: "" | "2", x: readonly number[], of: readonly Compared[]): ScatterTrace {
  return {
    type: "scatter",
    mode: "markers",
    name: "measured",
    legendgroup: "measured",
    showlegend: suffix === "",
    xaxis: `x${suffix}`,
    yaxis: `y${suffix}`,
    x,
    y: of.map((c) => c.name),
    marker: { color: "#D55E00", size: 11, symbol: "diamond" },
  };
}
