import { gradientDtype } from "../plan/precision.js";
import type { FlatState } from "./flat-state.js";
import type { GradientSink } from "./gradients.js";
import type { InstructionLabel } from "./program.js";
import type { RankState, SiteState } from "./rank-state.js";

/** One contribution to a flat vector's gradient: what a backward visit wrote. */
interface Contribution {
  readonly flat: FlatState;
  readonly whole: number;
  readonly first: boolean;
  readonly name: string;
  readonly layer: number;
  readonly microBatch: number;
}

/**
 * Adds what a backward visit wrote to the gradients of the step, and reduces them over the ranks that share the
 * states: once a step under ddp (all-reduce) and ZeRO-1 (reduce-scatter), every time under ZeRO-2 and ZeRO-3, and
 * every time in the canonical order. Reductions go to their own stream, behind the backward of the layers before.
 */
export function contributeGradients(
  state: RankState,
  site: SiteState,
  sink: GradientSink,
  microBatch: number,
): void {
  const { builder } = state;
  const { layer, name } = site.site;
  for (const { flat, whole, direct } of sink.flats) {
    const first = flat.contributions === 0;
    flat.contributions++;
    const contribution: Contribution = { flat, whole, first, name, layer, microBatch };
    const canonical = state.shared.gradientOrder === "canonical" && flat.shareRanks > 1;
    if (flat.keepsWholeGradient) {
      if (canonical) allReduceInOrder(state, contribution, direct);
      else if (!direct) {
        const label: InstructionLabel = { phase: "backward", layer, microBatch };
        const op = first ? "copy" : "accumulate";
        builder.emit({ op, stream: "compute", label, input: whole, output: flat.gradient });
      }
    } else if (canonical) addPiecesInOrder(state, contribution);
    else scatter(state, contribution);
    if (flat.contributions === flat.expected) reduceOnce(state, contribution, canonical);
  }
}

/** ZeRO-2 and ZeRO-3: this visit's gradients to the ranks that own them, in the type in which they came. */
function scatter(state: RankState, contribution: Contribution): void {
  const { builder } = state;
  const { flat, first, name, layer, microBatch, whole: input } = contribution;
  const label: InstructionLabel = { phase: "reduce", layer, microBatch };
  const { dtype } = builder.tensors[input]!;
  const direct = first && dtype === flat.gradientDtype;
  const output = direct
    ? flat.gradient
    : builder.tensor(`${name}.gradientShard#${microBatch}`, "transient", dtype, [flat.shardElements]);
  builder.emit({
    op: "reduceScatter",
    stream: "reduce",
    label,
    group: flat.shareGroup,
    reduction: "sum",
    input,
    output,
  });
  if (!direct) {
    const op = first ? "copy" : "accumulate";
    builder.emit({ op, stream: "reduce", label, input: output, output: flat.gradient });
  }
  state.lingering.push(input);
}

/**
 * Canonical order under ddp. Collectives add up in the order of the group, so the first rank puts what has been
 * summed so far in front: ((sum + g₀) + g₁) + …, as one rank with more micro-batches adds.
 */
function allReduceInOrder(state: RankState, contribution: Contribution, direct: boolean): void {
  const { builder } = state;
  const { flat, first, layer, microBatch } = contribution;
  const label: InstructionLabel = { phase: "reduce", layer, microBatch };
  const output = flat.gradient;
  let input = direct ? output : asFloat32(state, contribution);
  if (flat.shareIndex === 0 && !first) {
    builder.emit({ op: "accumulate", stream: "reduce", label, input, output });
    state.lingering.push(input);
    input = output;
  }
  builder.emit({
    op: "allReduce",
    stream: "reduce",
    label,
    group: flat.shareGroup,
    reduction: "sum",
    input,
    output,
  });
  if (input !== output) state.lingering.push(input);
}

/** Canonical order where gradients end up sharded: every rank gets its piece of all others' and adds them in turn. */
function addPiecesInOrder(state: RankState, contribution: Contribution): void {
  const { builder } = state;
  const { flat, first, name, layer, microBatch } = contribution;
  const label: InstructionLabel = { phase: "reduce", layer, microBatch };
  const input = asFloat32(state, contribution);
  const pieces = builder.tensor(`${name}.gradientPieces#${microBatch}`, "transient", "float32", [
    flat.layout.elements,
  ]);
  builder.emit({
    op: "allToAll",
    stream: "reduce",
    label,
    group: flat.shareGroup,
    reduction: "sum",
    input,
    output: pieces,
  });
  for (let member = 0; member < flat.shareRanks; member++) {
    const start = member * flat.shardElements;
    const piece = builder.view(pieces, `${name}.gradientPiece#${microBatch}`, start, [flat.shardElements]);
    const op = first && member === 0 ? "copy" : "accumulate";
    builder.emit({ op, stream: "reduce", label, input: piece, output: flat.gradient });
  }
  state.lingering.push(input, pieces);
}

/** The contribution in float32. */
function asFloat32(state: RankState, contribution: Contribution): number {
  const { builder } = state;
  const { flat, whole, name, layer, microBatch } = contribution;
  if (builder.tensors[whole]!.dtype === "float32") return whole;
  const output = builder.tensor(`${name}.gradient32#${microBatch}`, "transient", "float32", [
    flat.layout.elements,
  ]);
  const label: InstructionLabel = { phase: "backward", layer, microBatch };
  builder.emit({ op: "copy", stream: "compute", label, input: whole, output });
  return output;
}

/** What happens once a step, when all contributions are in. */
function reduceOnce(state: RankState, contribution: Contribution, reduced: boolean): void {
  const { builder } = state;
  const { flat, layer, microBatch } = contribution;
  const base = {
    stream: "reduce",
    label: { phase: "reduce", layer, microBatch } as InstructionLabel,
    reduction: "sum",
  } as const;
  if (flat.keepsWholeGradient && flat.shareRanks > 1 && !reduced) {
    const op = flat.mode === "ddp" ? "allReduce" : "reduceScatter";
    const dtype = gradientDtype(state.plan.precision);
    if (dtype === flat.gradientDtype) {
      builder.emit({ ...base, op, group: flat.shareGroup, input: flat.gradient, output: flat.ownGradient });
    } else {
      // What was added up in float32 is reduced in bfloat16.
      const { stream, label } = base;
      const { name } = builder.tensors[flat.gradient]!;
      const input = builder.tensor(`${name}.reduced`, "transient", dtype, [flat.layout.elements]);
      const start = op === "allReduce" ? 0 : flat.shardStart;
      const own = builder.view(input, `${name}.reduced.own`, start, [flat.shardElements]);
      builder.emit({ op: "copy", stream, label, input: flat.gradient, output: input });
      builder.emit({ ...base, op, group: flat.shareGroup, input, output: own });
      builder.emit({ op: "copy", stream, label, input: own, output: flat.ownGradient });
      state.lingering.push(input);
    }
  }
  if (flat.wholeGroup >= 0) {
    const start = Math.max(flat.layout.wholeStart, flat.ownGradientStart);
    const end = Math.min(flat.layout.wholeEnd, flat.ownGradientStart + flat.shardElements);
    if (end > start) {
      const name = `${builder.tensors[flat.gradient]!.name}.whole`;
      const piece = builder.view(flat.ownGradient, name, start - flat.ownGradientStart, [end - start]);
      builder.emit({ ...base, op: "allReduce", group: flat.wholeGroup, input: piece, output: piece });
    }
  }
}
