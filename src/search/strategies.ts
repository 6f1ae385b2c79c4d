import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import type { DataParallel, Placement, Strategy, TensorSplit } from "../plan/strategy.js";
import { strategyText } from "../plan/strategy-text.js";
import { divisors, type SpaceOptions } from "./space.js";

const KINDS: readonly DataParallel[] = ["ddp", "zero1", "zero2", "zero3"];
const SPLITS: readonly TensorSplit[] = ["weights", "sequence"];
const PLACEMENTS: readonly Placement[] = ["consecutive", "strided"];

/** Whether a layer of this kind can be cut so. */
function splits(kind: LayerKind, tensorDegree: number, split: TensorSplit): boolean {
  if (tensorDegree === 1) return split === "weights";
  if (kind.sequence % tensorDegree !== 0) return false;
  if (kind.heads % tensorDegree !== 0 || kind.keyValueHeads % tensorDegree !== 0) return false;
  return split === "sequence" || kind.feedForward % tensorDegree === 0;
}

/**
 * Every strategy of one kind over the ranks of a stage that the space allows, in a fixed order.
 * Embedding and head have no recompute.
 */
export function strategiesOf(
  model: ModelSpec,
  kindName: string,
  stageRanks: number,
  space: SpaceOptions,
): Strategy[] {
  const vocabulary = kindName === EMBEDDING_KIND || kindName === HEAD_KIND;
  const kind = vocabulary ? undefined : model.kinds[kindName]!;
  const result: Strategy[] = [];
  for (const tensorDegree of divisors(stageRanks)) {
    const dataDegree = stageRanks / tensorDegree;
    if (space.tensorDegrees && !space.tensorDegrees.includes(tensorDegree)) continue;
    if (space.dataDegrees && !space.dataDegrees.includes(dataDegree)) continue;
    if (tensorDegree > (space.maxTensorDegree ?? Number.POSITIVE_INFINITY)) continue;
    if (dataDegree > (space.maxDataDegree ?? Number.POSITIVE_INFINITY)) continue;
    for (const tensorSplit of SPLITS) {
      if (
        tensorDegree === 1 ? tensorSplit !== "weights" : !(space.tensorSplits ?? SPLITS).includes(tensorSplit)
      )
        continue;
      if (kind && !splits(kind, tensorDegree, tensorSplit)) continue;
      if (vocabulary && model.sequence % tensorDegree !== 0) continue;
      const shared = tensorSplit === "sequence" ? stageRanks : dataDegree;
      for (const placement of PLACEMENTS) {
        const free = tensorDegree > 1 && dataDegree > 1;
        if (free ? !(space.placements ?? PLACEMENTS).includes(placement) : placement !== "consecutive")
          continue;
        for (const dataParallel of KINDS) {
          if (shared === 1 ? dataParallel !== "ddp" : !(space.dataParallel ?? KINDS).includes(dataParallel))
            continue;
          for (const recompute of vocabulary ? [false] : (space.recompute ?? [false, true])) {
            result.push({ tensorDegree, tensorSplit, dataDegree, dataParallel, recompute, placement });
          }
        }
      }
    }
  }
  const only = space.strategies?.[kindName];
  if (!only) return result;
  const wanted = new Set(only.map(strategyText));
  return result.filter((strategy) => wanted.has(strategyText(strategy)));
}
