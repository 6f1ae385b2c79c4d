import { inFlight } from "../cost/pipeline-time.js";
import { type Alternative, memoryPrice, type Part } from "./memory-price.js";
import type { OuterChoice } from "./outer-choice.js";
import { peakClasses } from "./peak-class.js";
import { type Addend, asFirst, type ShapeTable } from "./shape-table.js";
import { aloneWeights, weighted } from "./stage-table.js";

export const passMs = (one: Addend): number => one.forwardMs + one.backwardMs;
export const rankOf = (one: Addend, microBatches: number): number =>
  weighted(aloneWeights(microBatches), one);
export const bytesOf = (one: Addend, held: number): number => one.stateBytes + held * one.activationBytes;

/** Most that any layer's backward can do before its gradient comes. */
export function mostLead(shape: ShapeTable): number {
  let most = 0;
  for (const list of shape.choices.values()) for (const { leadMs } of list) most = Math.max(most, leadMs);
  return most;
}

/** How many layers there are of each kind. */
export function kindCounts(kinds: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** Body and vocabulary as parts of a choice under one common budget. */
export function pricedParts(
  shape: ShapeTable,
  kinds: readonly string[],
  held: number,
  cost: (one: Addend) => number,
): Part[] {
  const [first, ...others] = kinds;
  const alternatives = (list: readonly Addend[]): Alternative[] =>
    list.map((one) => ({ bytes: bytesOf(one, held), ms: cost(one) }));
  const parts: Part[] = [...kindCounts(others)].map(([kind, count]) => ({
    count,
    alternatives: alternatives(shape.choices.get(kind)!),
  }));
  parts.push({
    count: 1,
    alternatives: alternatives(shape.choices.get(first!)!.map((one) => asFirst(one, 0))),
  });
  parts.push({
    count: 1,
    alternatives: shape.vocabulary.map(({ embedding, head }) => ({
      bytes: bytesOf(embedding, held) + bytesOf(head, held),
      ms: cost(asFirst(embedding, 0)) + cost(head),
    })),
  });
  return parts;
}

/**
 * A step time that no plan of an outer choice is below, found without building any.
 *
 * All memory is pooled over the stages. Let R be the least sum over layers of their time alone (every micro-batch,
 * and what comes once a step) and T that of one micro-batch, under the pooled budget:
 * - some stage has at least R / p, and no step is shorter than its fullest stage;
 * - 1F1B: C ≥ Σ_{j < s} t_j + m t_s for every s, which with Σ t_s ≥ T gives C ≥ T / (1 − (1 − 1/m)^p);
 * - GPipe: C ≥ T + (m − 1) T / p.
 */
export function candidateBound(
  shape: ShapeTable,
  outer: OuterChoice,
  kinds: readonly string[],
  budgetBytes: number,
): number {
  const { stages, microBatches: m, schedule } = outer;
  const held = schedule === "gpipe" ? m : inFlight(schedule, stages - 1, stages, m);
  const pooled = stages * budgetBytes;
  const ranks = memoryPrice(
    pricedParts(shape, kinds, held, (one) => rankOf(one, m)),
    pooled,
  ).boundMs;
  if (stages === 1) return shape.normMs + ranks;
  // Where a path comes back through a stage, the recompute of its last layer may be done already.
  const led = (one: Addend): number => passMs(one) - one.leadMs;
  const whole = memoryPrice(pricedParts(shape, kinds, held, passMs), pooled).boundMs;
  const pass = Math.max(
    memoryPrice(pricedParts(shape, kinds, held, led), pooled).boundMs,
    whole - (stages - 1) * mostLead(shape),
  );
  const bubble = schedule === "gpipe" ? pass + ((m - 1) * pass) / stages : pass / (1 - (1 - 1 / m) ** stages);
  return shape.normMs + Math.max(ranks / stages, bubble);
}

/** The bound of a single stage with its peak told apart: by classes of it. */
export function peakedBound(
  shape: ShapeTable,
  outer: OuterChoice,
  kinds: readonly string[],
  budgetBytes: number,
): number {
  const { microBatches: m, schedule } = outer;
  const held = inFlight(schedule, 0, 1, m);
  const cost = (one: Addend): number => rankOf(one, m);
  let boundMs = Number.POSITIVE_INFINITY;
  for (const { floorBytes, capBytes } of peakClasses(shape)) {
    if (floorBytes > budgetBytes) break;
    const allowed = (one: Addend): boolean => one.peakBytes <= capBytes;
    const choices = new Map([...shape.choices].map(([kind, list]) => [kind, list.filter(allowed)]));
    const vocabulary = shape.vocabulary.filter((one) => allowed(one.embedding) && allowed(one.head));
    const parts = pricedParts({ ...shape, choices, vocabulary }, kinds, held, cost);
    boundMs = Math.min(boundMs, memoryPrice(parts, budgetBytes - floorBytes).boundMs);
  }
  return shape.normMs + boundMs;
}
