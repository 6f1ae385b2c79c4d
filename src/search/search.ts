import { GalvatronError } from "../base/errors.js";
import { BYTES_PER_MB } from "../base/units.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import { type CostModel, costModel } from "../cost/cost-model.js";
import type { ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { GradientOrder, Plan } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import { candidateBound } from "./candidate-bound.js";
import { suffixStages } from "./division.js";
import { EntryQueue, REFINEMENTS, refine } from "./entry-queue.js";
import { labelStrategies } from "./label.js";
import { fitsWithin, hasStrategies, memoryKey } from "./memory-floor.js";
import { type BatchRange, outerChoices } from "./outer-choice.js";
import { memoryNeed, outerShapes, uniformShapes } from "./outer-shapes.js";
import type { Candidate, SearchReport } from "./search-report.js";
import { Siblings } from "./siblings.js";
import { type Found, type Problem, type Solved, sampleWithin, solveWithin } from "./solve-candidate.js";
import type { SpaceOptions } from "./space.js";
import { tidied } from "./tidy-plan.js";

export interface SearchInputs {
  readonly model: ModelSpec;
  readonly modelProfile: ModelProfile;
  readonly hardware: HardwareProfile;
  /** Bytes that one rank may use in all, the worker's reserve counted. */
  readonly budgetBytes: number;
  /** Samples per step; of a range the one with the fastest samples. Default: 8. */
  readonly globalBatch?: number | BatchRange;
  /** Of every plan; `deferred` when left out. */
  readonly gradientOrder?: GradientOrder;
  readonly space?: SpaceOptions;
}

/** How far above its bound a sub-search is looked for a plan, attempt by attempt: a near limit keeps tables small. */
const WIDENINGS: readonly number[] = [0.002, 0.006, 0.012, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 2];
/** So near to its bound a sub-search is looked through up to the best plan that is known at once. */
const NEAR = 0.01;
/** Labels on one layer of a pipeline's table, by how often a sub-search had too many and waited for its next turn. */
const MOST_LABELS: readonly number[] = [800, 3000];
/** How far above its bound a first plan of a sub-search is looked for, while none is known at all. */
const SAMPLED_WITHIN = 0.15;

function planOf(found: Found, cost: CostModel): Plan {
  const { outer, shape } = found.problem;
  const stages = suffixStages(found.suffix);
  const layers: Strategy[] = [];
  for (const { option } of stages) {
    for (const index of labelStrategies(option.label))
      layers.push(shape.choices.get(cost.model.layers[layers.length]!)![index]!.strategy);
  }
  return {
    ranks: cost.cluster.nodes * cost.cluster.ranksPerNode,
    globalBatch: outer.globalBatch,
    microBatches: outer.microBatches,
    schedule: outer.schedule,
    precision: cost.precision,
    gradientOrder: cost.gradientOrder,
    stageLayers: stages.map(({ option }) => option.layers),
    layers,
    vocabulary: found.vocabulary.strategy,
  };
}

/** Where the best plan that is known is not far beyond the next limit, it is the limit: it must be looked up to there anyway. */
function limitOf(boundMs: number, attempt: number, capMs: number): number {
  const within = (at: number): number => boundMs * (1 + (WIDENINGS[at] ?? Number.POSITIVE_INFINITY));
  return capMs <= boundMs * (1 + NEAR) || within(attempt + 1) >= capMs ? capMs : within(attempt);
}

const megabytes = (bytes: number): number => Math.ceil(bytes / BYTES_PER_MB);

/**
 * Finds the fastest plan (most samples per second) whose every rank stays inside the budget, proves how good it is,
 * and tells what became of every other outer choice.
 *
 * Best bound first: a sub-search whose bound is above the best plan found is not solved at all, and one with a
 * pipeline gets a nearer bound before its turn.
 *
 * @param now clock in ms, for `searchMs` only
 * @throws ARGUMENT_INVALID when the batch or the space cannot be read
 * @throws NO_FEASIBLE_PLAN when no plan of the space fits; `smallestBudgetBytes` in the context says what would
 */
export function search(inputs: SearchInputs, now: () => number = () => 0): SearchReport {
  const startMs = now();
  const space = inputs.space ?? {};
  const cost = costModel(inputs.model, inputs.modelProfile, inputs.hardware, inputs.gradientOrder);
  const kinds = inputs.model.layers;
  const ranks = cost.cluster.nodes * cost.cluster.ranksPerNode;
  const reserved = inputs.hardware.reservedBytes;
  const budgetBytes = inputs.budgetBytes - reserved;
  const shapeOf = outerShapes(cost, space);
  const outers = outerChoices(ranks, kinds.length, inputs.globalBatch, space);
  const candidates: (Candidate | null)[] = outers.map(() => null);
  const queue = new EntryQueue();
  const siblings = new Siblings();
  let smallest = Number.POSITIVE_INFINITY;
  const needed = new Map<string, number>();

  for (const [order, outer] of outers.entries()) {
    const blank = { ...outer, stepMs: null, samplesPerSecond: null, memoryBytes: null };
    const even = space.evenStages ? kinds.length / outer.stages : 0;
    const whole = shapeOf(outer);
    const fits = (bytes: number): boolean => fitsWithin(whole, outer, kinds, even, bytes);
    if (!hasStrategies(whole)) {
      const samples = outer.globalBatch / outer.microBatches;
      const reason = `no strategy of the space divides ${samples} samples over the ${whole.stageRanks} ranks of a stage`;
      candidates[order] = { ...blank, status: "invalid", reason };
      continue;
    }
    const key = memoryKey(whole, outer);
    let enough = needed.get(key);
    if (enough === undefined) {
      enough = memoryNeed(fits, budgetBytes, smallest);
      needed.set(key, enough);
      smallest = Math.min(smallest, enough);
    }
    if (enough > budgetBytes) {
      const reason = `needs at least ${megabytes(enough + reserved)} MB on its fullest rank`;
      candidates[order] = { ...blank, memoryBytes: enough + reserved, status: "no-plan-fits", reason };
      continue;
    }
    for (const shape of space.uniformLayers ? uniformShapes(whole) : [whole]) {
      const problem = { shape, outer, kinds, budgetBytes, even };
      const boundMs = candidateBound(shape, outer, kinds, budgetBytes);
      if (boundMs < Number.POSITIVE_INFINITY)
        siblings.add({
          problem,
          order,
          bound: boundMs / outer.globalBatch,
          refined: 0,
          relaxation: null,
          attempts: 0,
          overgrown: 0,
        });
    }
  }
  let best: Found | null = null;
  let lowerBound = Number.POSITIVE_INFINITY;
  for (const first of siblings.start()) queue.push(first);
  const close = (problem: Problem): void => {
    const next = siblings.after(problem);
    if (next) queue.push(next);
  };
  // Those whose tables grew too large wait for a better plan, which keeps tables small.
  const late = new EntryQueue();
  for (let entry = queue.pop(); entry; entry = queue.pop() ?? late.pop()) {
    const { problem, order, bound, relaxation } = entry;
    const { outer } = problem;
    const bestPerSample: number = best
      ? best.stepMs / best.problem.outer.globalBatch
      : Number.POSITIVE_INFINITY;
    if (bound < bestPerSample && entry.refined < REFINEMENTS) {
      const nearer = refine(entry);
      if (nearer.bound < Number.POSITIVE_INFINITY) queue.push(nearer);
      else close(problem);
      continue;
    }
    const blank = { ...outer, stepMs: null, samplesPerSecond: null, memoryBytes: null };
    const capMs = bestPerSample * outer.globalBatch;
    const boundMs = bound * outer.globalBatch;
    let solved: Solved = { best: null, lowerBoundMs: boundMs, sharedMs: 0 };
    let again = false;
    if (bound < bestPerSample) {
      const limitMs = limitOf(boundMs, entry.attempts, capMs);
      const mostLabels = MOST_LABELS[entry.overgrown]!;
      solved = solveWithin(problem, relaxation, limitMs, { mostLabels, exact: entry.overgrown > 0 });
      siblings.learn(problem, solved.sharedMs / outer.globalBatch);
      let { attempts: turn, overgrown } = entry;
      if (solved.overgrown && overgrown + 1 < MOST_LABELS.length) {
        again = true;
        overgrown++;
        turn = 0;
      } else if (!solved.overgrown) {
        // Nothing is known beyond the limit, and what was found lies there, if anything.
        again =
          limitMs < capMs &&
          solved.lowerBoundMs >= limitMs &&
          !(solved.best && solved.best.stepMs <= limitMs);
        turn++;
      }
      if (again) {
        if (solved.overgrown) close(problem);
        const nearer = Math.max(bound, solved.lowerBoundMs / outer.globalBatch);
        (solved.overgrown ? late : queue).push({ ...entry, attempts: turn, overgrown, bound: nearer });
        if (!best && !solved.best && solved.overgrown)
          solved = { ...solved, best: sampleWithin(problem, relaxation, boundMs * (1 + SAMPLED_WITHIN)) };
        if (!solved.best) continue;
      }
    }
    if (!again) {
      lowerBound = Math.min(lowerBound, Math.max(bound, solved.lowerBoundMs / outer.globalBatch));
      close(problem);
    }
    const found = solved.best;
    if (found) {
      const memory = Math.max(...suffixStages(found.suffix).map(({ option }) => option.bytes));
      const stepMs = found.stepMs;
      const other = candidates[order];
      if (!other?.stepMs || stepMs < other.stepMs) {
        candidates[order] = {
          ...outer,
          status: "ok",
          reason: "",
          stepMs,
          samplesPerSecond: (outer.globalBatch * 1000) / stepMs,
          memoryBytes: memory + reserved,
        };
      }
      if (stepMs < capMs) best = found;
    } else if (!candidates[order]) {
      candidates[order] = best
        ? {
            ...blank,
            status: "pruned",
            reason: `no plan of it takes less than ${solved.lowerBoundMs.toPrecision(4)} ms a step; the best plan would take ${capMs.toPrecision(4)} ms for this batch`,
          }
        : { ...blank, status: "no-plan-fits", reason: "no plan fits the budget" };
    }
  }
  const told = candidates.map(
    (candidate, index): Candidate =>
      candidate ?? {
        ...outers[index]!,
        stepMs: null,
        samplesPerSecond: null,
        memoryBytes: null,
        status: "no-plan-fits",
        reason: "no plan of the restricted space fits the budget",
      },
  );
  if (!best) throw nothingFits(inputs, smallest + reserved, told);
  const { plan, prediction } = tidied(cost, planOf(best, cost), inputs.budgetBytes, space);
  const bound = Math.min(lowerBound * plan.globalBatch, best.stepMs);
  const gap = (best.stepMs - bound) / best.stepMs;
  return {
    budgetBytes: inputs.budgetBytes,
    plan,
    prediction,
    candidates: told,
    lowerBoundMs: gap <= 1e-11 ? prediction.stepMs : bound,
    gap: gap <= 1e-11 ? 0 : gap,
    smallestBudgetBytes: smallest + reserved,
    searchMs: now() - startMs,
  };
}

function nothingFits(
  inputs: SearchInputs,
  smallestBudgetBytes: number,
  candidates: readonly Candidate[],
): GalvatronError {
  const known = Number.isFinite(smallestBudgetBytes);
  return new GalvatronError(
    "NO_FEASIBLE_PLAN",
    known
      ? `No plan fits ${Math.floor(inputs.budgetBytes / BYTES_PER_MB)} MB a rank. The smallest budget that would do is ${megabytes(smallestBudgetBytes)} MB.`
      : "No plan of this space can run at all: no degrees of it divide batch, heads, positions and layers.",
    {
      budgetBytes: inputs.budgetBytes,
      ...(known ? { smallestBudgetBytes } : {}),
      candidates: candidates.length,
    },
  );
}
