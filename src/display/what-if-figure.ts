import { axis, baseLayout, type Figure, type ScatterTrace } from "./figure.js";
import { SYMBOLS, strategyColor } from "./palette.js";

/** One answer of a what-if: the changed quantity, and what the best plan then reaches (`null`: no plan fits). */
export interface WhatIfPoint {
  readonly value: number;
  readonly samplesPerSecond: number | null;
  /** The plan in short; the curve changes colour where it changes. */
  readonly plan: string;
}

/**
 * Throughput of the best plan over one changed quantity: budget, bandwidth, number of ranks, batch. Every plan has its
 * own marker, so that the points where the best plan changes stand out.
 */
export function whatIfFigure(quantity: string, unit: string, points: readonly WhatIfPoint[]): Figure {
  const plans = [...new Set(points.filter((p) => p.samplesPerSecond !== null).map((p) => p.plan))];
  const curve: ScatterTrace = {
    type: "scatter",
    mode: "lines",
    name: "best plan",
    showlegend: false,
    x: points.map((p) => p.value),
    y: points.map((p) => p.samplesPerSecond),
    line: { color: "#9a9a9a", width: 1.5 },
  };
  const marks = plans.map((plan, index): ScatterTrace => {
    const own = points.filter((p) => p.plan === plan && p.samplesPerSecond !== null);
    return {
      type: "scatter",
      mode: "markers",
      name: plan,
      x: own.map((p) => p.value),
      y: own.map((p) => Number(p.samplesPerSecond!.toPrecision(4))),
      marker: {
        color: strategyColor(index).color,
        size: 9,
        symbol: SYMBOLS[index % SYMBOLS.length]!,
      },
    };
  });
  const missing = points.filter((p) => p.samplesPerSecond === null).length;
  const note = missing > 0 ? ` (no plan fits at ${missing} of ${points.length} points)` : "";
  return {
    data: [curve, ...marks],
    layout: {
      ...baseLayout(`What if the ${quantity} changed?${note}`, 340),
      showlegend: true,
      xaxis: axis(`${quantity}, ${unit}`, {}),
      yaxis: axis("samples per second", { rangemode: "tozero" }),
    },
  };
}
