import { type CostModel, inPipeline } from "../cost/cost-model.js";
import type { Strategy } from "../plan/strategy.js";
import { leastBudget } from "./memory-floor.js";
import type { OuterChoice } from "./outer-choice.js";
import { type ShapeTable, shapeTable } from "./shape-table.js";
import type { SpaceOptions } from "./space.js";

/** Prices made so far, shared by all sub-searches. */
export function outerShapes(cost: CostModel, space: SpaceOptions): (outer: OuterChoice) => ShapeTable {
  const made = new Map<string, ShapeTable>();
  const ranks = cost.cluster.nodes * cost.cluster.ranksPerNode;
  return (outer) => {
    const stageRanks = ranks / outer.stages;
    const samples = outer.globalBatch / outer.microBatches;
    const accumulates = outer.microBatches > 1;
    const pipelined = inPipeline(cost, outer.stages, outer.microBatches);
    const key = `${stageRanks} ${samples} ${accumulates} ${pipelined.layers.timeFactor}`;
    let shape = made.get(key);
    if (!shape) {
      shape = shapeTable(pipelined, stageRanks, samples, accumulates, space);
      made.set(key, shape);
    }
    return shape;
  };
}

/** The shape with one strategy only, for every strategy that all kinds can have. */
export function uniformShapes(shape: ShapeTable): ShapeTable[] {
  const [first, ...others] = [...shape.choices.values()];
  const key = (strategy: Strategy): string => JSON.stringify(strategy);
  return (first ?? []).flatMap(({ strategy }) => {
    const wanted = key(strategy);
    if (!others.every((list) => list.some((one) => key(one.strategy) === wanted))) return [];
    const choices = new Map(
      [...shape.choices].map(([kind, list]) => [kind, list.filter((one) => key(one.strategy) === wanted)]),
    );
    return [{ ...shape, family: `${shape.family} ${wanted}`, choices }];
  });
}

/** Bytes to which the need of an outer choice is told, unless it is the least of all. */
const NEED_PRECISION = 2 ** 16;

/**
 * Bytes that an outer choice needs: to the byte where that is less than `smallest`, else roughly, rounded up; and where
 * `budgetBytes` are enough, no more is told than that.
 */
export function memoryNeed(fits: (bytes: number) => boolean, budgetBytes: number, smallest: number): number {
  if (smallest < Number.POSITIVE_INFINITY && !fits(smallest - 1)) {
    if (fits(budgetBytes)) return budgetBytes;
    let known = Math.max(1, smallest, budgetBytes);
    while (!fits(known)) known *= 2;
    return leastBudget(fits, Math.max(0, budgetBytes), known, NEED_PRECISION);
  }
  let known = Math.max(1, Math.min(smallest, Math.max(1, budgetBytes)));
  while (!fits(known)) known *= 2;
  return leastBudget(fits, 0, known, 1);
}
