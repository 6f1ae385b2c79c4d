import { GalvatronError } from "../base/errors.js";
import { arrivalTensor, type Crossing, copyBlock, openTarget, packed, unpackBlock } from "./border-pieces.js";
import type { ExchangePiece, InstructionLabel } from "./program.js";
import { type RankState, stageRanks } from "./rank-state.js";
import { sameLayout } from "./relayout.js";
import type { RelayoutMoves } from "./relayout-cache.js";
import type { Site } from "./sites.js";

/** Which way a border is crossed: activations go forward, their gradients back. */
export type Direction = "activations" | "gradients";

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
        `${before.name} gives ${out.dtype} [${out.shape.join()}] where ${after.name} takes ${into.dtype} [${into.shape.join()}].`,
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

function movesOf(state: RankState, crossing: Crossing): RelayoutMoves {
  const { source, target, sequence, samples } = crossing;
  return state.shared.relayouts.find(source, target, sequence, samples);
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
    const { bySender, byReceiver, moves: some } = movesOf(state, crossing);
    moves ||= some;
    const output = openTarget(state, crossing, microBatch);
    for (const piece of bySender.get(rank) ?? []) {
      if (piece.to === rank) copyBlock(state, crossing, piece, input, output, label);
      else sends.push({ peer: piece.to, tensor: packed(state, crossing, piece, input, label) });
    }
    for (const piece of byReceiver.get(rank) ?? []) {
      if (piece.from === rank) continue;
      const arrival = arrivalTensor(state, crossing, piece, output);
      receives.push({ peer: piece.from, tensor: arrival.tensor });
      if (!arrival.inPlace) {
        unpack.push(() => unpackBlock(state, crossing, piece, arrival.tensor, output, label));
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
    for (const piece of movesOf(state, crossing).bySender.get(state.rank) ?? []) {
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

/**
 * Receives border tensors from a neighbouring stage, which are whole once `unpack` has emitted what puts their pieces
 * together. `reservedFrom`: from where on their addresses are kept free.
 */
export function receiveAcross(
  state: RankState,
  from: Site,
  to: Site,
  direction: Direction,
  microBatch: number,
  reservedFrom: number,
): { readonly tensors: readonly (number | undefined)[]; readonly unpack: () => void } {
  const { builder, rank } = state;
  const label: InstructionLabel = { phase: "transfer", layer: to.layer, microBatch };
  const relayout: InstructionLabel = { ...label, phase: "relayout" };
  const stream = direction === "activations" ? "activationsIn" : "gradientsIn";
  const unpack: (() => void)[] = [];
  const tensors = crossingsOf(state, from, to, direction).map((crossing) => {
    if (crossing === undefined) return undefined;
    const output = openTarget(state, crossing, microBatch);
    for (const piece of movesOf(state, crossing).byReceiver.get(rank) ?? []) {
      const arrival = arrivalTensor(state, crossing, piece, output);
      builder.reserveFrom(arrival.tensor, reservedFrom);
      builder.emit({ op: "receive", stream, label, peer: piece.from, tensor: arrival.tensor });
      if (!arrival.inPlace) {
        unpack.push(() => unpackBlock(state, crossing, piece, arrival.tensor, output, relayout));
      }
    }
    return output;
  });
  const unpackAll = (): void => {
    for (const emit of unpack) emit();
  };
  return { tensors, unpack: unpackAll };
}
