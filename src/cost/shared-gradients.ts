import { DTYPE_BYTES } from "../base/units.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import { tiedElements, wholeElements } from "../model/whole-parameters.js";
import { gradientDtype } from "../plan/precision.js";
import { stateRanks } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { collectiveMs } from "./collective-time.js";
import type { CostModel } from "./cost-model.js";
import { groupShape, tensorGroup } from "./group-shape.js";
import { accumulateTimeMs } from "./state-time.js";

/** The sum of squares that every rank adds to the norm: one float64, or the limbs of an exact one (`EXACT_LIMBS`). */
const NORM_BYTES = { deferred: 8, canonical: 18 * 8 } as const;

const allRanks = ({ cluster }: CostModel): number => cluster.nodes * cluster.ranksPerNode;

/** Once a step, when every stage has reduced and before any updates: the all-reduce of the global norm over all ranks. */
export function normMs(cost: CostModel): number {
  const everybody = groupShape(cost.cluster, allRanks(cost), 1);
  return collectiveMs(cost.collectives, "allReduce", everybody, NORM_BYTES[cost.gradientOrder]);
}

/**
 * Once a step: the tensor group adds up the gradients of what it holds whole, each rank of it its share of the state.
 *
 * @param addsUp the gradients are float32 sums of several contributions
 */
export function wholeMs(
  cost: CostModel,
  kind: string,
  strategy: Strategy,
  elements: number,
  addsUp: boolean,
): number {
  if (strategy.tensorDegree === 1 || strategy.tensorSplit === "sequence") return 0;
  const owned = strategy.dataParallel === "ddp" ? elements : elements / stateRanks(strategy);
  const reduced = Math.min(wholeElements(cost.model, kind), owned);
  if (reduced === 0) return 0;
  const elementBytes = addsUp ? 4 : DTYPE_BYTES[gradientDtype(cost.precision)];
  return collectiveMs(
    cost.collectives,
    "allReduce",
    tensorGroup(cost.cluster, strategy),
    elementBytes * reduced,
  );
}

/** What an end of the model has of a table that embedding and head share. */
export interface TiedTable {
  /** Elements that one rank of this end reads and makes gradients of; 0 where nothing is shared. */
  readonly elements: number;
  /** Of these, what another part of the same stage holds: both ends are on it, the table exists once, at the embedding. */
  readonly heldElsewhere: number;
  /** Of these, what is added to another part's gradient even if there is one micro-batch: the embedding adds last. */
  readonly added: number;
  /** Once a step, which nothing hides: adding up both gradients, of ends on two stages or in the canonical order. */
  readonly reduceMs: number;
}

const NOTHING_TIED: TiedTable = { elements: 0, heldElsewhere: 0, added: 0, reduceMs: 0 };

/**
 * Both ends on one stage share one table and one gradient of it, or in the canonical order a gradient each, which are
 * added up when both are complete; on two stages each holds the table, and their gradients are all-reduced then. Both
 * wait for the later one: the same time on both is exact.
 */
export function tiedTable(cost: CostModel, kind: string, strategy: Strategy): TiedTable {
  if (kind !== EMBEDDING_KIND && kind !== HEAD_KIND) return NOTHING_TIED;
  const { tensorDegree, dataDegree, tensorSplit, dataParallel } = strategy;
  const elements = tiedElements(cost.model, tensorSplit === "weights" ? tensorDegree : 1);
  if (elements === 0) return NOTHING_TIED;
  const stageRanks = tensorDegree * dataDegree;
  const owned = dataParallel === "ddp" ? elements : elements / stateRanks(strategy);
  if (stageRanks >= allRanks(cost)) {
    const head = kind === HEAD_KIND;
    const heldElsewhere = head ? elements : 0;
    if (cost.gradientOrder === "deferred")
      return { elements, heldElsewhere, added: head ? 0 : elements, reduceMs: 0 };
    const addMs = accumulateTimeMs(4 * owned, "float32", cost.hardware.optimizerGBps);
    return { elements, heldElsewhere, added: 0, reduceMs: head ? 0 : addMs };
  }
  const twoEnds = groupShape(cost.cluster, 2, allRanks(cost) - stageRanks);
  const reduceMs = collectiveMs(cost.collectives, "allReduce", twoEnds, 4 * owned);
  return { elements, heldElsewhere: 0, added: 0, reduceMs };
}
