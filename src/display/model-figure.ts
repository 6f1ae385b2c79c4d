import type { LayerSample, ModelProfile } from "../model/model-profile.js";
import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";

/** Time of one layer of each kind over the samples of a micro-batch: forward and backward, by tensor degree. */
export function modelProfileFigure(profile: ModelProfile): Figure {
  const degrees = [...new Set(profile.layers.map((l) => l.tensorDegree))].sort((a, b) => a - b);
  const samples = [...profile.layers].sort(
    (a, b) => a.kind.localeCompare(b.kind) || a.tensorDegree - b.tensorDegree || a.samples - b.samples,
  );
  const name = (l: LayerSample): string =>
    `${l.kind} ×${l.samples}${degrees.length > 1 ? ` tp${l.tensorDegree}${l.tensorSplit === "sequence" ? "s" : ""}` : ""}`;
  const bar = (label: string, color: string, ms: (l: LayerSample) => number): BarTrace => ({
    type: "bar",
    orientation: "v",
    name: label,
    x: samples.map(name),
    y: samples.map((l) => Number(ms(l).toPrecision(4))),
    marker: { color },
  });
  return {
    data: [bar("forward", "#56B4E9", (l) => l.forwardMs), bar("backward", "#0072B2", (l) => l.backwardMs)],
    layout: {
      ...baseLayout(`${profile.model.name}: time of one layer and micro-batch (${profile.source})`, 340),
      barmode: "stack",
      showlegend: true,
      xaxis: axis("layer kind × samples", { type: "category" }),
      yaxis: axis("ms", { rangemode: "tozero" }),
    },
  };
}
