import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";

/** One quantity, as it was predicted and as it came out. */
export interface Comparison {
  readonly name: string;
  readonly predicted: number;
  readonly measured: number;
}

/** Predicted beside measured, with the error in per cent over each pair. */
export function accuracyFigure(title: string, unit: string, comparisons: readonly Comparison[]): Figure {
  const names = comparisons.map((c) => `${c.name} (${signed(c.predicted / c.measured - 1)})`);
  const bar = (name: string, color: string, value: (c: Comparison) => number): BarTrace => ({
    type: "bar",
    orientation: "v",
    name,
    x: names,
    y: comparisons.map((c) => Number(value(c).toPrecision(5))),
    marker: { color },
  });
  return {
    data: [bar("predicted", "#56B4E9", (c) => c.predicted), bar("measured", "#0072B2", (c) => c.measured)],
    layout: {
      ...baseLayout(title, 320),
      barmode: "group",
      showlegend: true,
      xaxis: axis("", { type: "category" }),
      yaxis: axis(unit, { rangemode: "tozero" }),
    },
  };
}

function signed(share: number): string {
  const percent = share * 100;
  return `${percent >= 0 ? "+" : "−"}${Math.abs(percent).toFixed(1)} %`;
}
