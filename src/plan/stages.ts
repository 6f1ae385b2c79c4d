import type { RankGrid } from "../cluster/rank-groups.js";
import type { Plan } from "./plan.js";
import type { Strategy } from "./strategy.js";

/** Ranks of every stage (all stages are equal). */
export function ranksPerStage(plan: Plan): number {
  return plan.ranks / plan.stageLayers.length;
}

export function stageOfRank(plan: Plan, rank: number): number {
  return Math.floor(rank / ranksPerStage(plan));
}

/** First layer of the body on a stage. */
export function firstLayerOfStage(plan: Plan, stage: number): number {
  let first = 0;
  for (let before = 0; before < stage; before++) first += plan.stageLayers[before] ?? 0;
  return first;
}

/** The grid that a strategy lays over the ranks of a stage. */
export function strategyGrid(plan: Plan, strategy: Strategy, stage: number): RankGrid {
  return {
    firstRank: stage * ranksPerStage(plan),
    tensorDegree: strategy.tensorDegree,
    dataDegree: strategy.dataDegree,
    strided: strategy.placement === "strided",
  };
}

/**
 * Ranks that hold equal states and may shard them (ZeRO): the data ranks, and under Ulysses, where every rank of the
 * tensor group holds whole weights, those of the tensor group too.
 */
export function stateRanks(strategy: Strategy): number {
  return strategy.tensorSplit === "sequence"
    ? strategy.tensorDegree * strategy.dataDegree
    : strategy.dataDegree;
}

/** Samples of one micro-batch on one rank of a layer. */
export function samplesPerRank(plan: Plan, strategy: Strategy): number {
  return plan.globalBatch / plan.microBatches / strategy.dataDegree;
}
