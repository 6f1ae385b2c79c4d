import { type FlatState, shardOf } from "./flat-state.js";
import { emitGather } from "./parameter-views.js";
import { EXACT_LIMBS, EXACT_RUN, type InstructionLabel } from "./program.js";
import { type RankState, stageRanks } from "./rank-state.js";
import { readState } from "./read-state.js";

/**
 * The end of a step: gradients of tied parameters are added up between the first and the last stage, the global norm
 * is taken over every gradient element once, gradients are clipped, and every shard is updated. What the next step needs
 * first is gathered while the others are updated.
 */
export function emitUpdate(state: RankState): void {
  addTiedGradients(state);
  emitClip(state);
  for (const flat of state.flats) {
    emitAdamw(state, flat);
    if (flat.wholeBetweenSteps)
      emitGather(state, flat, flat[readState(flat)], { phase: "gather", layer: flat.layer });
  }
  for (const flat of state.flats) state.builder.keepUntilNow(flat.gradient);
}

/** Both ends hold the same parameter, cut alike, and update it alike. */
function addTiedGradients(state: RankState): void {
  const { builder, plan, rank, stage } = state;
  const last = plan.stageLayers.length - 1;
  const tied = state.flats.find((flat) => flat.layout.part === "tied");
  if (tied === undefined) return;
  const label: InstructionLabel = { phase: "reduce", layer: tied.layer };
  const output = tied.ownGradient;
  if (state.tiedApart !== undefined) {
    const input = state.tiedApart.ownGradient;
    builder.emit({ op: "accumulate", stream: "reduce", label, input, output });
  }
  if (last === 0) return;
  const distance = stageRanks(plan, last)[0]!;
  const first = stage === 0 ? rank : rank - distance;
  builder.emit({
    op: "allReduce",
    stream: "reduce",
    label,
    group: builder.group([first, first + distance]),
    reduction: "sum",
    input: output,
    output,
  });
}

function emitClip(state: RankState): void {
  const { builder, plan } = state;
  const label: InstructionLabel = { phase: "optimizer" };
  const exact = state.shared.gradientOrder === "canonical";
  const squares = builder.tensor("sumSquares", "io", "float64", [exact ? EXACT_LIMBS : 1]);
  // What backward reaches last is still being reduced while the others are counted.
  const counted = [false, true]
    .map((last) => state.flats.filter((flat) => isReducedLast(state, flat) === last))
    .map((flats) => flats.flatMap((flat) => countedPieces(state, flat)))
    .filter((inputs) => inputs.length > 0);
  for (const [index, inputs] of counted.entries()) {
    const accumulates = index > 0 && { accumulates: true as const };
    builder.emit({ op: "sumSquares", stream: "compute", label, ...accumulates, inputs, output: squares });
  }
  if (counted.length === 0) builder.emit({ op: "fill", stream: "compute", label, value: 0, output: squares });
  if (plan.ranks > 1) {
    const group = builder.group(Array.from({ length: plan.ranks }, (_, rank) => rank));
    builder.emit({
      op: "allReduce",
      stream: "reduce",
      label,
      group,
      reduction: "sum",
      input: squares,
      output: squares,
    });
  }
  builder.emit({
    op: "clip",
    stream: "compute",
    label,
    sumSquares: squares,
    hyper: state.hyper,
    output: state.clip,
  });
}

/** What backward reaches last, and what both ends of a pipeline add up when all is done. */
function isReducedLast({ plan }: RankState, { isFirst, layout }: FlatState): boolean {
  return isFirst || (layout.part === "tied" && plan.stageLayers.length > 1);
}

/**
 * The pieces of a flat's gradient that this rank counts in the global norm. Replicas count their own part only: the
 * ranks that share a state a piece each, the first of a tensor group what is whole on all of them, the embedding's
 * stage what is tied. Cut so that runs of exact squares stand at the same places of the whole vector on any ranks.
 */
function countedPieces(state: RankState, flat: FlatState): readonly number[] {
  const { layout, shareRanks, shareIndex } = flat;
  if (layout.part === "tied" && state.stage > 0) return [];
  const piece = layout.elements / shareRanks;
  const start = shareIndex * piece;
  const end = start + piece;
  const nextRun = Math.ceil(layout.wholeEnd / EXACT_RUN) * EXACT_RUN;
  const ranges: [number, number][] =
    flat.tensorIndex > 0 && layout.wholeEnd > layout.wholeStart
      ? [
          [start, Math.min(end, layout.wholeStart)],
          [Math.max(start, layout.wholeEnd), Math.min(end, nextRun)],
          [Math.max(start, nextRun), end],
        ]
      : [[start, end]];
  return ranges.flatMap(([from, to]) =>
    to > from
      ? [state.builder.view(flat.ownGradient, "gradient.counted", from - flat.ownGradientStart, [to - from])]
      : [],
  );
}

function emitAdamw(state: RankState, flat: FlatState): void {
  const { builder } = state;
  const label: InstructionLabel = { phase: "optimizer", layer: flat.layer };
  const { shardStart, shardElements } = flat;
  builder.emit({
    op: "adamw",
    stream: "compute",
    label,
    parameter: shardOf(builder, flat, "parameter"),
    gradient: flat.ownGradient,
    moment1: flat.moment1,
    moment2: flat.moment2,
    decayElements: Math.max(0, Math.min(shardElements, flat.layout.decayElements - shardStart)),
    hyper: state.hyper,
    clip: state.clip,
    computeCopy: flat.computeCopy >= 0 ? shardOf(builder, flat, "computeCopy") : -1,
  });
}
