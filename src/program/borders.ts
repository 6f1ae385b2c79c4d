import { GalvatronError } from "../base/errors.js";
import type { RankGrid } from "../cluster/rank-groups.js";
import type { LayerValue } from "../graph/layer-graphs.js";
import type { ExchangePiece, InstructionLabel } from "./program.js";
import { type RankState, stageRanks } from "./rank-state.js";
import { type BorderBlock, borderBlock, type RelayoutPiece, relayoutPieces, sameLayout } from "./relayout.js";
import type { Site } from "./sites.js";

/** Which way a border is crossed: activations go forward, their gradients back. */
export type Direction = "activations" | "gradients";

/** What crosses a border between two layers: the same whole tensor, laid out on either side by that side's grid. */
interface Crossing {
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

/**
 * What leaves `from` and enters `to` (for gradients: `from` is the later layer), one entry per tensor of the border;
 * `undefined` for what nobody makes or nobody reads on the other side.
 */
function crossingsOf(
  state: RankState,
  from: Site,
  to: Site,
  direction: Direction,
): readonly (Crossing | undefined)[] {
  const [before, after] = direction === "activations" ? [from, to] : [to, from];
  const names = before.graphs.borderOutputs;
  if (names.length !== after.graphs.borderInputs.length) {
    throw new GalvatronError(
      "PROGRAM_INVALID",
      `${before.name} gives ${names.length} border tensors, ${after.name} takes ${after.graphs.borderInputs.length}.`,
      { before: before.name, after: after.name },
    );
  }
  return names.map((name, index) => {
    const out = before.graphs.values[name]!;
    const inputName = after.graphs.borderInputs[index]!;
    const into = after.graphs.values[inputName]!;
    const sequence = out.shape[0]! * before.grid.tensorDegree;
    if (sequence !== into.shape[0]! * after.grid.tensorDegree || out.dtype !== into.dtype) {
      throw new GalvatronError(
        "PROGRAM_INVALID",
        `${before.name} gives ${out.dtype} [${out.shape}] where ${after.name} takes ${into.dtype} [${into.shape}].`,
        { before: before.name, after: after.name },
      );
    }
    if (
      direction === "activations"
        ? !after.reads.has(inputName)
        : !gradientFlows(before, name, after, inputName)
    ) {
      return undefined;
    }
    return {
      name: `${from.name}.${name}${direction === "gradients" ? ".gradient" : ""}`,
      source: from.grid,
      target: to.grid,
      sequence,
      samples: state.plan.globalBatch / state.plan.microBatches,
      inner: out.shape.slice(2).reduce((all, extent) => all * extent, 1),
      value: direction === "activations" ? into : out,
    };
  });
}

function gradientFlows(before: Site, output: string, after: Site, input: string): boolean {
  const wanted = before.gradientOf.get(output);
  return wanted !== undefined && before.reads.has(wanted) && after.gradientOf.has(input);
}

/** Brings border tensors from the layout of one layer to that of the next on the same stage. */
export function crossInStage(
  state: RankState,
  from: Site,
  to: Site,
  direction: Direction,
  tensors: readonly (number | undefined)[],
  microBatch: number,
): readonly (number | undefined)[] {
  if (sameLayout(from.grid, to.grid)) return tensors;
  const { builder, rank } = state;
  const label: InstructionLabel = { phase: "relayout", layer: to.layer, microBatch };
  const sends: ExchangePiece[] = [];
  const receives: ExchangePiece[] = [];
  const unpack: (() => void)[] = [];
  let moves = false;
  const outputs = crossingsOf(state, from, to, direction).map((crossing, index) => {
    const input = tensors[index];
    if (crossing === undefined || input === undefined) return undefined;
    const pieces = relayoutPieces(crossing.source, crossing.target, crossing.sequence, crossing.samples);
    moves ||= pieces.some((piece) => piece.from !== piece.to);
    const output = openTarget(state, crossing, microBatch);
    for (const piece of pieces) {
      if (piece.from === rank && piece.to === rank) {
        copyBlock(state, crossing, piece, input, output, label);
      } else if (piece.from === rank) {
        sends.push({ peer: piece.to, tensor: packed(state, crossing, piece, input, label) });
      } else if (piece.to === rank) {
        const arrival = arrivalTensor(state, crossing, piece, output);
        receives.push({ peer: piece.from, tensor: arrival.tensor });
        if (!arrival.inPlace) {
          unpack.push(() => unpackBlock(state, crossing, piece, arrival.tensor, output, label));
        }
      }
    }
    return output;
  });
  if (moves) {
    const group = builder.group(stageRanks(state.plan, state.stage));
    builder.emit({ op: "exchange", stream: "compute", label, group, sends, receives });
  }
  for (const emit of unpack) emit();
  return outputs;
}

/** Sends border tensors to the ranks of a neighbouring stage that need them. Returns the tensors that are on their way. */
export function sendAcross(
  state: RankState,
  from: Site,
  to: Site,
  direction: Direction,
  tensors: readonly (number | undefined)[],
  microBatch: number,
): { readonly tensors: readonly number[]; readonly emit: () => void } {
  const label: InstructionLabel = { phase: "transfer", layer: from.layer, microBatch };
  const relayout: InstructionLabel = { ...label, phase: "relayout" };
  const parcels: { peer: number; tensor: number }[] = [];
  for (const [index, crossing] of crossingsOf(state, from, to, direction).entries()) {
    const input = tensors[index];
    if (crossing === undefined || input === undefined) continue;
    for (const piece of relayoutPieces(
      crossing.source,
      crossing.target,
      crossing.sequence,
      crossing.samples,
    )) {
      if (piece.from !== state.rank) continue;
      parcels.push({ peer: piece.to, tensor: packed(state, crossing, piece, input, relayout) });
    }
  }
  const stream = direction === "activations" ? "activationsOut" : "gradientsOut";
  return {
    tensors: parcels.map(({ tensor }) => tensor),
    emit: () => {
      for (const parcel of parcels) state.builder.emit({ op: "send", stream, label, ...parcel });
    },
  };
}

/** Receives border tensors from a neighbouring stage. `reservedFrom`: from where on their addresses are kept free. */
export function receiveAcross(
  state: RankState,
  from: Site,
  to: Site,
  direction: Direction,
  microBatch: number,
  reservedFrom: number,
): readonly (number | undefined)[] {
  const { builder, rank } = state;
  const label: InstructionLabel = { phase: "transfer", layer: to.layer, microBatch };
  const relayout: InstructionLabel = { ...label, phase: "relayout" };
  const stream = direction === "activations" ? "activationsIn" : "gradientsIn";
  const unpack: (() => void)[] = [];
  const outputs = crossingsOf(state, from, to, direction).map((crossing) => {
    if (crossing === undefined) return undefined;
    const output = openTarget(state, crossing, microBatch);
    for (const piece of relayoutPieces(
      crossing.source,
      crossing.target,
      crossing.sequence,
      crossing.samples,
    )) {
      if (piece.to !== rank) continue;
      const arrival = arrivalTensor(state, crossing, piece, output);
      builder.reserveFrom(arrival.tensor, reservedFrom);
      builder.emit({ op: "receive", stream, label, peer: piece.from, tensor: arrival.tensor });
      if (!arrival.inPlace) {
        unpack.push(() => unpackBlock(state, crossing, piece, arrival.tensor, output, relayout));
      }
    }
    return output;
  });
  for (const emit of unpack) emit();
  return outputs;
}

function openTarget(state: RankState, crossing: Crossing, microBatch: number): number {
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
function packed(
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
function arrivalTensor(
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

function unpackBlock(
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

function copyBlock(
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
