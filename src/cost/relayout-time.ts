import type { Strategy } from "../plan/strategy.js";
import { collectiveMs } from "./collective-time.js";
import type { CostModel } from "./cost-model.js";
import { groupShape } from "./group-shape.js";

/** How an activation lies over a stage's ranks: all that decides whether two layers need a layout change. */
export interface Layout {
  readonly tensorDegree: number;
  readonly placement: "consecutive" | "strided";
}

export const layoutOf = (strategy: Strategy): Layout => ({
  tensorDegree: strategy.tensorDegree,
  placement: strategy.placement,
});

export const sameLayout = (a: Layout, b: Layout): boolean =>
  a.tensorDegree === b.tensorDegree && a.placement === b.placement;

/** Which of `parts` equal parts of the sequence and of the batch a rank of the stage holds. */
function place(
  layout: Layout,
  stageRanks: number,
  rank: number,
): { readonly cut: number; readonly row: number } {
  const data = stageRanks / layout.tensorDegree;
  return layout.placement === "consecutive"
    ? { cut: rank % layout.tensorDegree, row: Math.floor(rank / layout.tensorDegree) }
    : { cut: Math.floor(rank / data), row: rank % data };
}

/** What a layout change moves, at the rank that has most to do. */
export interface RelayoutMove {
  /** Ranks that hold parts of what it needs, itself counted. */
  readonly partners: number;
  /** Pieces that its new activation is made of. */
  readonly pieces: number;
  /** Distance between the furthest of them, plus one. */
  readonly span: number;
  /** Share of its new activation that it must receive. */
  readonly movedShare: number;
}

/** Overlap of parts `i` of `n` and `j` of `m` of the same whole, as a share of part `i`. */
function overlapShare(i: number, n: number, j: number, m: number): number {
  const from = Math.max(i / n, j / m);
  const to = Math.min((i + 1) / n, (j + 1) / m);
  return Math.max(0, (to - from) * n);
}

/** Ranks looked at in a wide stage: the pattern repeats along the stage. */
const LOOKED_AT = 64;

/** Which bytes must move between two layouts of one stage: every rank keeps what it holds already. */
export function relayoutMove(cost: CostModel, from: Layout, to: Layout, stageRanks: number): RelayoutMove {
  const key = `${from.tensorDegree}${from.placement} ${to.tensorDegree}${to.placement} ${stageRanks}`;
  const known = cost.relayouts.get(key);
  if (known) return known;
  const move = findMove(from, to, stageRanks);
  cost.relayouts.set(key, move);
  return move;
}

function findMove(from: Layout, to: Layout, stageRanks: number): RelayoutMove {
  let partners = 1;
  let most = 1;
  let span = 1;
  let movedShare = 0;
  const dataFrom = stageRanks / from.tensorDegree;
  const dataTo = stageRanks / to.tensorDegree;
  const step = Math.max(1, Math.floor(stageRanks / LOOKED_AT)) | 1;
  for (let rank = 0; rank < stageRanks; rank += step) {
    const target = place(to, stageRanks, rank);
    const own = place(from, stageRanks, rank);
    const kept =
      overlapShare(target.cut, to.tensorDegree, own.cut, from.tensorDegree) *
      overlapShare(target.row, dataTo, own.row, dataFrom);
    const firstCut = Math.floor((target.cut * from.tensorDegree) / to.tensorDegree);
    const lastCut = Math.ceil(((target.cut + 1) * from.tensorDegree) / to.tensorDegree) - 1;
    const firstRow = Math.floor((target.row * dataFrom) / dataTo);
    const lastRow = Math.ceil(((target.row + 1) * dataFrom) / dataTo) - 1;
    const pieces = (lastCut - firstCut + 1) * (lastRow - firstRow + 1);
    const number = (cut: number, row: number): number =>
      from.placement === "consecutive" ? row * from.tensorDegree + cut : cut * dataFrom + row;
    const low = Math.min(rank, number(firstCut, firstRow));
    const high = Math.max(rank, number(lastCut, lastRow));
    most = Math.max(most, pieces);
    partners = Math.max(partners, pieces + (kept > 0 ? 0 : 1));
    span = Math.max(span, high - low + 1);
    movedShare = Math.max(movedShare, 1 - kept);
  }
  return { partners, pieces: most, span, movedShare };
}

/**
 * Time of one layout change, in one direction: an all-to-all among the ranks that exchange pieces, of the share of
 * the activation that has to move.
 *
 * @param tensorBytes the whole activation of the micro-batch, over all ranks of the stage
 */
export function relayoutMs(
  cost: CostModel,
  from: Layout,
  to: Layout,
  stageRanks: number,
  tensorBytes: number,
): number {
  if (sameLayout(from, to)) return 0;
  const move = relayoutMove(cost, from, to, stageRanks);
  if (move.movedShare === 0) return 0;
  const stride = Math.max(1, Math.round((move.span - 1) / Math.max(1, move.partners - 1)));
  const group = groupShape(cost.cluster, move.partners, stride);
  // An all-to-all of x bytes moves x (n - 1)/n of them off a rank.
  const moved = (move.movedShare * tensorBytes) / stageRanks;
  return collectiveMs(cost.betweenGraphs, "allToAll", group, (moved * move.partners) / (move.partners - 1));
}
