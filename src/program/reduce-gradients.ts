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
 * every time in the canonical order, where ddp too reduce-scatters and gathers the sums in the end. Reductions go to
 * their own stream, behind the backward of the layers before.
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
    if (flat.reducesInOrder || !flat.keepsWholeGradient) scatter(state, contribution);
    else if (!direct) {
      const label: InstructionLabel = { phase: "backward", layer, microBatch };
      const op = first ? "copy" : "accumulate";
      builder.emit({ op, stream: "compute", label, input: whole, output: flat.gradient });
    }
    if (flat.contributions === flat.expected) reduceOnce(state, contribution);
  }
}

/**
 * This visit's gradients to the ranks that own them. The canonical order adds them to what is there, one rank after
 * another: ((sum + g₀) + g₁) + …, as one rank with more micro-batches adds.
 */
function scatter(state: RankState, contribution: Contribution): void {
  const { builder } = state;
  const { flat, first, name, layer, microBatch } = contribution;
  const label: InstructionLabel = { phase: "reduce", layer, microBatch };
  const input = flat.reducedDtype === "float32" ? asFloat32(state, contribution) : contribution.whole;
  const { dtype } = builder.tensors[input]!;
  const direct = flat.reducesInOrder || (first && dtype === flat.gradientDtype);
  const output = direct
    ? flat.scattered
    : builder.tensor(`${name}.gradientShard#${microBatch}`, "transient", dtype, [flat.shardElements]);
  builder.emit({
    op: "reduceScatter",
    stream: "reduce",
    label,
    group: flat.shareGroup,
    reduction: "sum",
    ...(!first && direct && { accumulates: true }),
    input,
    output,
  });
  if (!direct) {
    const op = first ? "copy" : "accumulate";
    builder.emit({ op, stream: "reduce", label, input: output, output: flat.gradient });
    // Else the next visit's backward would wait for this reduction, to write where its shard lay.
    state.lingering.push(output);
  }
  if (input !== flat.gradient) state.lingering.push(input);
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
function reduceOnce(state: RankState, contribution: Contribution): void {
  const { builder } = state;
  const { flat, layer, microBatch } = contribution;
  const base = {
    stream: "reduce",
    label: { phase: "reduce", layer, microBatch } as InstructionLabel,
    reduction: "sum",
  } as const;
  if (flat.keepsWholeGradient && flat.shareRanks > 1) {
    const { scattered, gradient, ownGradient, reducedDtype } = flat;
    const all = { ...base, group: flat.shareGroup, input: gradient, output: ownGradient };
    const op = flat.mode === "ddp" ? "allReduce" : "reduceScatter";
    if (flat.reducesInOrder) builder.emit({ ...all, op: "allGather", input: scattered });
    else if (reducedDtype === flat.gradientDtype) builder.emit({ ...all, op });
    else {
      // What was added up in float32 is reduced in bfloat16.
      const { stream, label } = base;
      const { name } = builder.tensors[gradient]!;
      const input = builder.tensor(`${name}.reduced`, "transient", reducedDtype, [flat.layout.elements]);
      const start = op === "allReduce" ? 0 : flat.shardStart;
      const own = builder.view(input, `${name}.reduced.own`, start, [flat.shardElements]);
      builder.emit({ op: "copy", stream, label, input: gradient, output: input });
      builder.emit({ ...all, op, input, output: own });
      builder.emit({ op: "copy", stream, label, input: own, output: ownGradient });
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
