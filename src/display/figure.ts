/**
 * A plotly figure as plain data: the small part of plotly's schema that our pictures use, so that the same figure is
 * drawn by plotly in a browser and by `figureToSvg` everywhere else.
 */
export interface Figure {
  readonly data: readonly Trace[];
  readonly layout: Layout;
}

export type Trace = BarTrace | ScatterTrace | HeatmapTrace;

export type AxisValue = string | number;

interface TraceBase {
  readonly name: string;
  readonly showlegend?: boolean;
  readonly legendgroup?: string;
  /** "x", "x2", …: which pair of axes the trace lies on. */
  readonly xaxis?: string;
  readonly yaxis?: string;
  readonly hoverinfo?: "text" | "skip";
  readonly hovertemplate?: string;
}

export interface BarTrace extends TraceBase {
  readonly type: "bar";
  readonly orientation: "h" | "v";
  readonly x: readonly AxisValue[];
  readonly y: readonly AxisValue[];
  /** Where each bar starts; 0 (or the bar below it, when stacked) without it. */
  readonly base?: readonly number[];
  readonly width?: number;
  readonly text?: readonly string[];
  readonly hovertext?: readonly string[];
  readonly textposition?: "none" | "inside";
  readonly marker: {
    readonly color: string;
    readonly line?: { readonly color: string; readonly width: number };
    /** Lines over the colour. */
    readonly pattern?: {
      readonly shape: string;
      readonly fgcolor: string;
      readonly size: number;
      readonly fillmode: "overlay";
    };
  };
}

export interface ScatterTrace extends TraceBase {
  readonly type: "scatter";
  readonly mode: "lines" | "markers" | "lines+markers";
  readonly x: readonly AxisValue[];
  readonly y: readonly (AxisValue | null)[];
  readonly text?: readonly string[];
  readonly line?: {
    readonly color: string;
    readonly width?: number;
    readonly dash?: "solid" | "dash" | "dot";
    readonly shape?: "linear" | "hv";
  };
  readonly marker?: {
    readonly color: string;
    readonly size?: number;
    readonly symbol?: "circle" | "x" | "diamond" | "square" | "triangle-up" | "cross";
  };
}

export interface HeatmapTrace extends TraceBase {
  readonly type: "heatmap";
  readonly x: readonly AxisValue[];
  readonly y: readonly AxisValue[];
  readonly z: readonly (readonly (number | null)[])[];
  readonly text?: readonly (readonly string[])[];
  readonly colorscale: readonly (readonly [number, string])[];
  readonly showscale?: boolean;
}

export interface Axis {
  readonly title?: { readonly text: string };
  readonly type?: "linear" | "log" | "category";
  readonly range?: readonly [number, number];
  readonly autorange?: "reversed" | true;
  /** Share of the figure, 0 to 1, that the axis spans. */
  readonly domain?: readonly [number, number];
  readonly anchor?: string;
  readonly tickvals?: readonly AxisValue[];
  readonly ticktext?: readonly string[];
  readonly tickformat?: string;
  readonly showgrid?: boolean;
  readonly zeroline?: boolean;
  readonly gridcolor?: string;
  readonly linecolor?: string;
  readonly rangemode?: "tozero";
  readonly dtick?: number;
  readonly matches?: string;
  readonly automargin?: boolean;
}

/** A straight line across the plot, in data coordinates of its axes. */
export interface LineShape {
  readonly type: "line";
  readonly xref: string;
  readonly yref: string;
  readonly x0: number;
  readonly x1: number;
  readonly y0: number;
  readonly y1: number;
  readonly line: { readonly color: string; readonly width: number; readonly dash?: "dash" | "dot" | "solid" };
}

export interface Annotation {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly xref: string;
  readonly yref: string;
  readonly showarrow: false;
  readonly xanchor?: "left" | "right" | "center";
  readonly yanchor?: "top" | "bottom" | "middle";
  readonly font?: { readonly size?: number; readonly color?: string };
}

/** Below the plot, whatever its height. */
interface Legend {
  readonly orientation: "h";
  readonly yref: "container";
  readonly y: number;
  readonly yanchor: "bottom";
  readonly x: number;
  readonly traceorder: "normal";
}

export interface Layout {
  readonly title?: { readonly text: string; readonly x?: number; readonly font?: { readonly size: number } };
  readonly barmode?: "stack" | "group" | "overlay";
  readonly bargap?: number;
  readonly height: number;
  readonly margin?: { readonly l: number; readonly r: number; readonly t: number; readonly b: number };
  readonly showlegend?: boolean;
  readonly legend?: Legend;
  readonly paper_bgcolor?: string;
  readonly plot_bgcolor?: string;
  readonly font?: { readonly color: string; readonly size: number; readonly family?: string };
  readonly hovermode?: "closest" | "x" | false;
  readonly shapes?: readonly LineShape[];
  readonly annotations?: readonly Annotation[];
  readonly xaxis?: Axis;
  readonly yaxis?: Axis;
  readonly [axis: `xaxis${number}` | `yaxis${number}`]: Axis;
}

/** Readable on white and on black alike: a contrast of 4.5 to 1 against both. */
export const INK = "#767676";
/** Lines of a hatch: dark enough on light colours, light enough on dark ones. */
export const HATCH_INK = "rgba(255,255,255,0.75)";
export const GRID = "rgba(128,128,128,0.25)";

/** Layout that all our figures share: transparent ground, so that it suits a light and a dark page. */
export function baseLayout(title: string, height: number): Layout {
  return {
    title: { text: title, x: 0.01, font: { size: 15 } },
    height,
    margin: { l: 70, r: 20, t: 48, b: 92 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: INK, size: 12 },
    hovermode: "closest",
    legend: { orientation: "h", yref: "container", y: 0.01, yanchor: "bottom", x: 0, traceorder: "normal" },
  };
}

/** An axis with our grid. */
export function axis(title: string, more: Axis = {}): Axis {
  return {
    title: { text: title },
    gridcolor: GRID,
    linecolor: GRID,
    zeroline: false,
    automargin: true,
    ...more,
  };
}

/** Height of so many rows: comfortable for a few, and still one screen for the stages of a large pipeline. */
export function rowsPx(count: number): number {
  return Math.round(count * Math.min(40, Math.max(9, 600 / count)));
}

/** A vertical line at a value of the first x axis, with its name at the top. */
export function marked(
  x: number,
  name: string,
  color: string,
  side: "left" | "right" = "right",
): Pick<Layout, "shapes" | "annotations"> {
  return {
    shapes: [
      {
        type: "line",
        xref: "x",
        yref: "paper",
        x0: x,
        x1: x,
        y0: 0,
        y1: 1,
        line: { color, width: 2, dash: "dash" },
      },
    ],
    annotations: [
      { text: name, x, y: 1, xref: "x", yref: "paper", showarrow: false, xanchor: side, yanchor: "bottom" },
    ],
  };
}
