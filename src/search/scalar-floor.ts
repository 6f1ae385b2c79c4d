import { rankFrontier, rankStandIns } from "./label.js";
import type { Choice, ShapeTable } from "./shape-table.js";
import { stageTable } from "./stage-table.js";
import { standIns } from "./stand-ins.js";

/** One cost to be made least: the step of a stage alone, or one micro-batch of it. */
export type FloorCost = "rank" | "pass";

const scalarShapes = new WeakMap<ShapeTable, ShapeTable>();

/** What of a layer's strategies matters to one micro-batch: of those that equal in it, the leanest stay. */
function passShape(shape: ShapeTable): ShapeTable {
  let made = scalarShapes.get(shape);
  if (!made) {
    const choices = new Map<string, readonly Choice[]>();
    for (const [kind, list] of shape.choices) {
      const bare = list.map(
        (one): Choice => ({ ...one, reduceMs: 0, reduceAloneMs: 0, afterMs: 0, leadMs: 0 }),
      );
      const better = (a: Choice, b: Choice): boolean =>
        a.layout === b.layout &&
        a.forwardMs + a.backwardMs <= b.forwardMs + b.backwardMs &&
        a.stateBytes <= b.stateBytes &&
        a.activationBytes <= b.activationBytes &&
        a.peakBytes <= b.peakBytes;
      choices.set(
        kind,
        bare.filter(
          (one, index) =>
            !bare.some(
              (other, at) => at !== index && better(other, one) && (at < index || !better(one, other)),
            ),
        ),
      );
    }
    made = { ...shape, choices };
    scalarShapes.set(shape, made);
  }
  return made;
}

/**
 * Exact least cost of the first ℓ layers of `kinds` within a budget, layout changes counted: entry ℓ. Infinite where
 * they do not fit, and from the first length on whose cost is beyond `limitMs`.
 */
export function scalarFloor(
  shape: ShapeTable,
  kinds: readonly string[],
  held: number,
  microBatches: number,
  budgetBytes: number,
  limitMs: number,
  cost: FloorCost,
): Float64Array {
  const own = cost === "pass" ? passShape(shape) : shape;
  const weight = cost === "pass" ? 1 : microBatches;
  const table = stageTable(own, {
    kinds,
    inFlight: held,
    microBatches: weight,
    budgetBytes,
    // The least of both: a reduction that something may hide.
    afterEmbedding: true,
    frontier: rankFrontier,
    continuing: (labels, nextKind) => rankStandIns(labels, standIns(shape, "free", nextKind), weight),
    mostLabels: Number.POSITIVE_INFINITY,
    thins: false,
    worth: (label) => label.rankMs <= limitMs,
  })!;
  const floor = new Float64Array(kinds.length + 1).fill(Number.POSITIVE_INFINITY);
  floor[0] = 0;
  for (const [index, labels] of table.entries())
    for (const { rankMs } of labels) floor[index + 1] = Math.min(floor[index + 1]!, rankMs);
  return floor;
}
