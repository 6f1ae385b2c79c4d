import type { RankGrid } from "../cluster/rank-groups.js";
import type { LayerValue } from "../graph/layer-graphs.js";
import type { InstructionLabel } from "./program.js";
import type { RankState } from "./rank-state.js";
import { type BorderBlock, borderBlock, type RelayoutPiece } from "./relayout.js";

/** What crosses a border between two layers: the same whole tensor, laid out on either side by that side's grid. */
export interface Crossing {
  readonly name: string;
  readonly source: RankGrid;
  readonly target: RankGrid;
  /** Of the whole micro-batch. */
  readonly sequence: number;
  readonly samples: number;
  /** Elements at one position of one sample. */
  readonly inner: number;
  readonly value: LayerValue;
}

/** A new tensor for what arrives. */
export function openTarget(state: RankState, crossing: Crossing, microBatch: number): number {
  const { value } = crossing;
  const category = value.role.endsWith("Gradient") ? "transient" : "activation";
  return state.builder.tensor(`${crossing.name}→#${microBatch}`, category, value.dtype, value.shape);
}

function extents(block: BorderBlock, crossing: Crossing): readonly [number, number, number] {
  return [block.sequenceEnd - block.sequenceStart, block.sampleEnd - block.sampleStart, crossing.inner];
}

/** A border tensor as `[positions, samples, inner]`. */
function asBorder(state: RankState, crossing: Crossing, tensor: number, grid: RankGrid): number {
  const { builder } = state;
  const { name } = builder.tensors[tensor]!;
  const shape = [crossing.sequence / grid.tensorDegree, crossing.samples / grid.dataDegree, crossing.inner];
  return builder.view(tensor, name, 0, shape);
}

/** Start of a block within what a rank holds. */
function startWithin(
  crossing: Crossing,
  grid: RankGrid,
  rank: number,
  block: BorderBlock,
): readonly [number, number, number] {
  const own = borderBlock(grid, rank, crossing.sequence, crossing.samples);
  return [block.sequenceStart - own.sequenceStart, block.sampleStart - own.sampleStart, 0];
}

/** The block as a view, where it lies in one run: whole rows of the samples axis. */
function contiguousView(
  state: RankState,
  crossing: Crossing,
  grid: RankGrid,
  piece: RelayoutPiece,
  tensor: number,
): number | undefined {
  const share = crossing.samples / grid.dataDegree;
  const [positions, samples, inner] = extents(piece.block, crossing);
  if (samples !== share && positions !== 1) return undefined;
  const [position, sample] = startWithin(crossing, grid, state.rank, piece.block);
  const { name } = state.builder.tensors[tensor]!;
  return state.builder.view(tensor, name, (position * share + sample) * inner, [positions, samples, inner]);
}

/** The tensor to send a piece from: a view of the input, or a packed copy. */
export function packed(
  state: RankState,
  crossing: Crossing,
  piece: RelayoutPiece,
  input: number,
  label: InstructionLabel,
): number {
  const view = contiguousView(state, crossing, crossing.source, piece, input);
  if (view !== undefined) return view;
  const { builder } = state;
  const extent = extents(piece.block, crossing);
  const name = `${crossing.name}→${piece.to}#${label.microBatch}`;
  const output = builder.tensor(name, "transient", crossing.value.dtype, extent);
  builder.emit({
    op: "copyBlock",
    stream: "compute",
    label,
    input: asBorder(state, crossing, input, crossing.source),
    output,
    inputStart: startWithin(crossing, crossing.source, piece.from, piece.block),
    outputStart: [0, 0, 0],
    extent,
  });
  return output;
}

/** Where a piece arrives: in its place, or packed. */
export function arrivalTensor(
  state: RankState,
  crossing: Crossing,
  piece: RelayoutPiece,
  output: number,
): { readonly tensor: number; readonly inPlace: boolean } {
  const view = contiguousView(state, crossing, crossing.target, piece, output);
  if (view !== undefined) return { tensor: view, inPlace: true };
  const name = `${crossing.name}←${piece.from}`;
  const extent = extents(piece.block, crossing);
  return {
    tensor: state.builder.tensor(name, "transient", crossing.value.dtype, extent),
    inPlace: false,
  };
}

/** Puts a packed piece in its place. */
export function unpackBlock(
  state: RankState,
  crossing: Crossing,
  piece: RelayoutPiece,
  arrival: number,
  output: number,
  label: InstructionLabel,
): void {
  state.builder.emit({
    op: "copyBlock",
    stream: "compute",
    label,
    input: arrival,
    output: asBorder(state, crossing, output, crossing.target),
    inputStart: [0, 0, 0],
    outputStart: startWithin(crossing, crossing.target, piece.to, piece.block),
    extent: extents(piece.block, crossing),
  });
}

/** A block that stays on this rank and only changes its place. */
export function copyBlock(
  state: RankState,
  crossing: Crossing,
  piece: RelayoutPiece,
  input: number,
  output: number,
  label: InstructionLabel,
): void {
  state.builder.emit({
    op: "copyBlock",
    stream: "compute",
    label,
    input: asBorder(state, crossing, input, crossing.source),
    output: asBorder(state, crossing, output, crossing.target),
    inputStart: startWithin(crossing, crossing.source, piece.from, piece.block),
    outputStart: startWithin(crossing, crossing.target, piece.to, piece.block),
    extent: extents(piece.block, crossing),
  });
}
