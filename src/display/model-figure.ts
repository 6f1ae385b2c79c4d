import type { LayerSample, ModelProfile } from "../model/model-profile.js";
import { axis, baseLayout, type Figure, type ScatterTrace } from "./figure.js";
import { DASHES, SYMBOLS, strategyColor } from "./palette.js";

/**
 * Time of one layer of each kind over the samples of a micro-batch: forward on the left, backward on the right. A colour per
 * kind, a symbol and a dash per tensor split.
 */
export function modelProfileFigure(profile: ModelProfile): Figure {
  const lines = new Map<string, LayerSample[]>();
  for (const sample of profile.layers)
    lines.set(nameOf(sample), [...(lines.get(nameOf(sample)) ?? []), sample]);
  const kinds = [...new Set(profile.layers.map(({ kind }) => kind))];
  const splits = [...new Set(profile.layers.map(splitOf))];
  const pane = (suffix: string, ms: (l: LayerSample) => number): ScatterTrace[] =>
    [...lines].map(([name, samples]): ScatterTrace => {
      const sorted = [...samples].sort((a, b) => a.samples - b.samples);
      const { kind } = sorted[0]!;
      const { color } = strategyColor(kinds.indexOf(kind));
      const split = splits.indexOf(splitOf(sorted[0]!));
      return {
        type: "scatter",
        mode: "lines+markers",
        name,
        legendgroup: name,
        showlegend: suffix === "",
        hovertemplate: `${name}: %{y} ms for %{x} samples<extra></extra>`,
        xaxis: `x${suffix}`,
        yaxis: `y${suffix}`,
        x: sorted.map((l) => l.samples),
        y: sorted.map((l) => Number(ms(l).toPrecision(4))),
        line: { color, width: 1.5, dash: DASHES[split % DASHES.length]! },
        marker: { color, size: 7, symbol: SYMBOLS[split % SYMBOLS.length]! },
      };
    });
  return {
    data: [...pane("", (l) => l.forwardMs), ...pane("2", (l) => l.backwardMs)],
    layout: {
      ...baseLayout(`${profile.model.name}: time of one layer and micro-batch (${profile.source})`, 380),
      showlegend: true,
      xaxis: axis("samples, forward", { domain: [0, 0.45], rangemode: "tozero" }),
      yaxis: axis("ms", { rangemode: "tozero" }),
      xaxis2: axis("samples, backward", { domain: [0.57, 1], anchor: "y2", rangemode: "tozero" }),
      yaxis2: axis("ms", { rangemode: "tozero", anchor: "x2" }),
    },
  };
}

/** "decoder", "decoder tp2" (weights cut), "decoder sp2" (sequence cut). */
function nameOf(sample: LayerSample): string {
  return `${sample.kind} ${splitOf(sample)}`.trim();
}

function splitOf({ tensorDegree, tensorSplit }: LayerSample): string {
  return tensorDegree === 1 ? "" : `${tensorSplit === "sequence" ? "sp" : "tp"}${tensorDegree}`;
}
