import type { Prediction, StageTime } from "../cost/prediction.js";
import type { SpanKind } from "../program/timeline.js";
import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";
import { TIME_COLORS, TIME_LABELS } from "./palette.js";

/** Terms of a stage's time in the order in which they are stacked. */
export const TIME_TERMS: readonly (readonly [keyof StageTime, SpanKind | "bubble"])[] = [
  ["computeMs", "compute"],
  ["recomputeMs", "recompute"],
  ["tensorMs", "tensor"],
  ["dataMs", "data"],
  ["relayoutMs", "relayout"],
  ["pipelineMs", "pipeline"],
  ["optimizerMs", "optimizer"],
  ["bubbleMs", "bubble"],
];

/** Where the time of a step goes: the terms of every stage, stacked. Terms that are zero everywhere are left out. */
export function costFigure(
  prediction: Prediction,
  title: string = "Where a step's time goes (predicted)",
): Figure {
  const names = prediction.stages.map((_, stage) => `stage ${stage}`);
  const traces = TIME_TERMS.filter(([term]) => prediction.stages.some((s) => s.time[term] > 0)).map(
    ([term, kind]): BarTrace => ({
      type: "bar",
      orientation: "h",
      name: TIME_LABELS[kind],
      x: prediction.stages.map((s) => s.time[term]),
      y: names,
      hovertemplate: `${TIME_LABELS[kind]}: %{x:.2f} ms<extra></extra>`,
      marker: {
        color: TIME_COLORS[kind],
        ...(kind === "bubble" && { pattern: { shape: "/", fgcolor: "#8a8a8a", size: 6 } }),
      },
    }),
  );
  return {
    data: traces,
    layout: {
      ...baseLayout(`${title}: ${formatMs(prediction.stepMs)} a step`, 170 + 40 * names.length),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      xaxis: axis("ms per step", { rangemode: "tozero" }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
    },
  };
}

/** 0.123 → "0.123 ms", 1234 → "1.23 s": three digits, for people. */
export function formatMs(ms: number): string {
  return ms >= 1000 ? `${Number((ms / 1000).toPrecision(3))} s` : `${Number(ms.toPrecision(3))} ms`;
}
