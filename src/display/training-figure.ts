import type { StepRecord } from "../program/step-record.js";
import { axis, baseLayout, type Figure, type ScatterTrace } from "./figure.js";

/** Points of a curve beyond which only every n-th is drawn. */
const MAX_POINTS = 400;

/** A run while it trains: loss (left), time of a step against the prediction (right). */
export function trainingFigure(
  records: readonly StepRecord[],
  options: { readonly steps: number; readonly predictedStepMs?: number; readonly title?: string },
): Figure {
  const own = thin(records.filter((r) => r.rank === 0));
  const steps = own.map((r) => r.step);
  const data: ScatterTrace[] = [
    {
      type: "scatter",
      mode: "lines",
      name: "loss",
      x: steps,
      y: own.map((r) => Number(r.loss.toPrecision(5))),
      line: { color: "#0072B2", width: 2 },
    },
    {
      type: "scatter",
      mode: "markers",
      name: "step time",
      xaxis: "x2",
      yaxis: "y2",
      x: steps,
      y: own.map((r) => Number(r.stepMs.toPrecision(4))),
      marker: { color: "#E69F00", size: 4 },
    },
  ];
  if (options.predictedStepMs !== undefined) {
    data.push({
      type: "scatter",
      mode: "lines",
      name: "predicted step time",
      xaxis: "x2",
      yaxis: "y2",
      x: [0, options.steps],
      y: [options.predictedStepMs, options.predictedStepMs],
      line: { color: "#5B5B5B", width: 1.5, dash: "dash" },
    });
  }
  const last = own.at(-1);
  const state = last
    ? `step ${last.step + 1} of ${options.steps}, loss ${last.loss.toFixed(3)}, ${Math.round(last.tokensPerSecond).toLocaleString("en-US")} tokens/s`
    : "starting";
  return {
    data,
    layout: {
      ...baseLayout(`${options.title ?? "Training"}: ${state}`, 320),
      showlegend: true,
      xaxis: axis("step", { domain: [0, 0.45], range: [0, options.steps] }),
      yaxis: axis("loss", {}),
      xaxis2: axis("step", { domain: [0.57, 1], range: [0, options.steps], anchor: "y2" }),
      yaxis2: axis("ms per step", { rangemode: "tozero", anchor: "x2" }),
    },
  };
}

function thin(records: readonly StepRecord[]): readonly StepRecord[] {
  const every = Math.ceil(records.length / MAX_POINTS);
  return every <= 1 ? records : records.filter((_, i) => i % every === 0 || i === records.length - 1);
}
