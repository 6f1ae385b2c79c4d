import { ledFrontier, rankStandIns } from "./label.js";
import type { Choice, ShapeTable } from "./shape-table.js";
import { stageTable, type Weights, weighted } from "./stage-table.js";
import { standIns } from "./stand-ins.js";
import type { Worth } from "./worth.js";

const scalarShapes = new WeakMap<ShapeTable, Map<string, ShapeTable>>();

/** What of a layer's strategies matters to one cost: of those that equal in it, the leanest stay. */
function scalarShape(shape: ShapeTable, weights: Weights): ShapeTable {
  let byWeights = scalarShapes.get(shape);
  if (!byWeights) {
    byWeights = new Map();
    scalarShapes.set(shape, byWeights);
  }
  const key = `${weights.forward} ${weights.backward} ${weights.reduce} ${weights.after}`;
  let made = byWeights.get(key);
  if (!made) {
    const choices = new Map<string, readonly Choice[]>();
    for (const [kind, list] of shape.choices) {
      const better = (a: Choice, b: Choice): boolean =>
        a.layout === b.layout &&
        weighted(weights, a) <= weighted(weights, b) &&
        (weights.reduce === 0 || (a.reduceAloneMs <= b.reduceAloneMs && a.edgesMs <= b.edgesMs)) &&
        a.leadMs >= b.leadMs &&
        a.stateBytes <= b.stateBytes &&
        a.activationBytes <= b.activationBytes &&
        a.peakBytes <= b.peakBytes;
      choices.set(
        kind,
        list.filter(
          (one, index) =>
            !list.some(
              (other, at) => at !== index && better(other, one) && (at < index || !better(one, other)),
            ),
        ),
      );
    }
    made = { ...shape, choices };
    byWeights.set(key, made);
  }
  return made;
}

export interface ScalarQuery {
  readonly stage: number;
  readonly kinds: readonly string[];
  readonly held: number;
  readonly budgetBytes: number;
  readonly weights: Weights;
  readonly worth: Worth;
}

/** Least costs by number of layers; `led` where a next stage's gradient finds the last layer's lead done. */
export interface ScalarFloor {
  readonly cost: Float64Array;
  readonly led: Float64Array;
}

/**
 * Exact least cost of the first ℓ layers of `kinds` within a budget, layout changes counted: entry ℓ. Infinite where
 * they do not fit, and where it is not worth having.
 */
export function scalarFloor(shape: ShapeTable, query: ScalarQuery): ScalarFloor {
  const { kinds, weights } = query;
  const table = stageTable(scalarShape(shape, weights), {
    kinds,
    inFlight: query.held,
    weights,
    budgetBytes: query.budgetBytes,
    stage: query.stage,
    frontier: ledFrontier,
    continuing: (labels, nextKind) => rankStandIns(labels, standIns(shape, "free", nextKind), weights),
    mostLabels: Number.POSITIVE_INFINITY,
    thins: false,
    worth: query.worth,
  })!;
  const cost = new Float64Array(kinds.length + 1).fill(Number.POSITIVE_INFINITY);
  const led = cost.slice();
  for (const [index, labels] of table.entries())
    for (const { rankMs, leadMs } of labels) {
      cost[index + 1] = Math.min(cost[index + 1]!, rankMs);
      led[index + 1] = Math.min(led[index + 1]!, rankMs - leadMs);
    }
  return { cost, led };
}
