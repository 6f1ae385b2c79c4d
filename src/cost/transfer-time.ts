import { collectiveMs } from "./collective-time.js";
import type { CostModel } from "./cost-model.js";
import { groupShape } from "./group-shape.js";
import { type Layout, relayoutMove, sameLayout } from "./relayout-time.js";

/**
 * Time of handing one micro-batch's activation (or its gradient) to the next stage: every rank sends its pieces, one
 * after another, to the ranks `stageRanks` further that need them. Equal layouts make one piece.
 *
 * @param tensorBytes the whole activation of the micro-batch, over all ranks of the stage
 */
export function transferMs(
  cost: CostModel,
  from: Layout,
  to: Layout,
  stageRanks: number,
  tensorBytes: number,
): number {
  if (stageRanks >= cost.cluster.nodes * cost.cluster.ranksPerNode) return 0;
  const pieces = sameLayout(from, to) ? 1 : relayoutMove(cost, from, to, stageRanks).pieces;
  const bytes = tensorBytes / stageRanks / pieces;
  return (
    pieces * collectiveMs(cost.collectives, "sendReceive", groupShape(cost.cluster, 2, stageRanks), bytes)
  );
}
