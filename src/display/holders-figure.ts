import type { Program } from "../program/program.js";
import { axis, type BarTrace, baseLayout, type Figure } from "./figure.js";
import { memoryMarker } from "./palette.js";

const STATES = ["parameters", "gradients", "optimizer state"] as const;
/** One for each state and an empty one. */
const ROWS_PER_RANK = STATES.length + 1;
type State = (typeof STATES)[number];

/** An interval of a layer's parameters, as shares of the whole layer. */
interface Held {
  readonly rank: number;
  readonly state: State;
  readonly start: number;
  readonly end: number;
}

/**
 * Who holds what: which share of a layer's parameters, gradients and optimizer state every rank keeps from step to step,
 * read from the Programs. Overlap between ranks is replication.
 */
export function holdersFigure(programs: readonly Program[], layer: number): Figure {
  const held = programs.flatMap((program) => holdings(program, layer));
  const traces = STATES.map((state): BarTrace => {
    const own = held.filter((h) => h.state === state);
    return {
      type: "bar",
      orientation: "h",
      name: state,
      base: own.map((h) => h.start * 100),
      x: own.map((h) => (h.end - h.start) * 100),
      y: own.map((h) => h.rank * ROWS_PER_RANK + STATES.indexOf(state)),
      width: 0.8,
      hovertext: own.map((h) => `rank ${h.rank}: ${state} ${percent(h.start)} to ${percent(h.end)}`),
      hoverinfo: "text",
      marker: memoryMarker(state),
    };
  });
  const ranks = [...new Set(held.map((h) => h.rank))];
  return {
    data: traces,
    layout: {
      ...baseLayout(`Who holds what of layer ${layer}`, 150 + ranks.length * ROWS_PER_RANK * 14),
      barmode: "overlay",
      showlegend: true,
      xaxis: axis("share of the layer's parameters, %", { range: [0, 100] }),
      yaxis: axis("", {
        range: [
          Math.max(...ranks) * ROWS_PER_RANK + STATES.length - 0.5,
          Math.min(...ranks) * ROWS_PER_RANK - 0.5,
        ],
        tickvals: ranks.map((rank) => rank * ROWS_PER_RANK + 1),
        ticktext: ranks.map((rank) => `rank ${rank}`),
        showgrid: false,
      }),
    },
  };
}

/** The flat vector of a tensor rank is its t-th of the layer; what the rank keeps of that vector lies within it. */
function holdings(program: Program, layer: number): Held[] {
  const flat = program.flats.find((f) => f.layer === layer);
  if (!flat) return [];
  const slices = program.parameters.filter((p) => program.flats[p.flat] === flat);
  const cut = slices.find((p) => p.extent.some((extent, i) => extent < p.fullShape[i]!));
  const cutAxis = cut ? cut.extent.findIndex((extent, i) => extent < cut.fullShape[i]!) : -1;
  const pieces = cut ? cut.fullShape[cutAxis]! / cut.extent[cutAxis]! : 1;
  const piece = cut ? cut.start[cutAxis]! / cut.extent[cutAxis]! : 0;
  const share = (element: number): number => (piece + Math.min(1, element / flat.elements)) / pieces;
  const kept = (tensor: number, from: number): [number, number] => {
    const elements = program.tensors[tensor]!.shape.reduce((a, b) => a * b, 1);
    return [share(from), share(from + elements)];
  };
  // A gradient that is shorter than the vector is the shard whose optimizer state this rank holds.
  const gradientElements = program.tensors[flat.gradient]!.shape.reduce((a, b) => a * b, 1);
  const gradientFrom = gradientElements < flat.elements ? flat.shardStart : 0;
  const rows: readonly (readonly [State, [number, number]])[] = [
    ["parameters", kept(flat.parameter, flat.parameterStart)],
    ["gradients", kept(flat.gradient, gradientFrom)],
    ["optimizer state", kept(flat.moment1, flat.shardStart)],
  ];
  return rows.map(([state, [start, end]]) => ({ rank: program.rank, state, start, end }));
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}
