import type { Prediction, StageTime } from "../cost/prediction.js";
import type { SpanKind } from "../program/timeline.js";
import { axis, type BarTrace, baseLayout, type Figure, marked, rowsPx } from "./figure.js";
import { TIME_LABELS, timeMarker } from "./palette.js";

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

/**
 * Where the time of a step goes: the terms of every stage, stacked, against the bound below which no plan of the
 * searched space can be. Terms that are zero everywhere are left out.
 *
 * @param lowerBoundMs - 0 where nothing was searched: no bound is drawn then
 */
export function costFigure(prediction: Prediction, lowerBoundMs = 0): Figure {
  const names = prediction.stages.map((_, stage) => `stage ${stage}`);
  const traces = TIME_TERMS.filter(([term]) => prediction.stages.some((s) => s.time[term] > 0)).map(
    ([term, kind]): BarTrace => ({
      type: "bar",
      orientation: "h",
      name: TIME_LABELS[kind],
      x: prediction.stages.map((s) => Number(s.time[term].toPrecision(6))),
      y: names,
      hovertemplate: `${TIME_LABELS[kind]}: %{x:.2f} ms<extra></extra>`,
      marker: timeMarker(kind),
    }),
  );
  return {
    data: traces,
    layout: {
      ...baseLayout(
        `Where a step's ${formatMs(prediction.stepMs)} go (predicted)`,
        190 + rowsPx(names.length),
      ),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      xaxis: axis("ms per step", { rangemode: "tozero" }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
      ...(lowerBoundMs > 0 &&
        marked(lowerBoundMs, `no plan is faster than ${formatMs(lowerBoundMs)}`, "#D55E00")),
    },
  };
}

/** 0.123 → "0.123 ms", 1234 → "1.23 s": three digits, for people. */
export function formatMs(ms: number): string {
  return ms >= 1000 ? `${Number((ms / 1000).toPrecision(3))} s` : `${Number(ms.toPrecision(3))} ms`;
}
