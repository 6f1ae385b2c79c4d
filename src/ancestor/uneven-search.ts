import type { Assignment, Candidate } from "./assignment.js";
import type { AncestorCase } from "./case.js";
import type { FittedProfile } from "./cost/fitted-profile.js";
import { steadyTime } from "./cost/pipeline-time.js";
import { type DivisionProblem, Divisions, type FirstWithSync, type StageTime } from "./divisions.js";
import { assignmentOf, solveEven, stageOptions, stageSet } from "./even-search.js";
import { perSample, type SearchOutcome } from "./search.js";
import { type Freedom, freedoms, kindsOfLayers } from "./search-space.js";
import type { Proof } from "./stage-choice.js";
import { StageCosts } from "./stage-costs.js";
import { type StrategySpace, strategySpace } from "./strategy-space.js";
import { memoryBudget } from "./sub-search.js";

interface Place extends Candidate {
  readonly problem: DivisionProblem;
  readonly freedom: Freedom;
  readonly stages: StageCosts;
  /** Divisions with fractional layers. */
  readonly divisions: Divisions;
}

/**
 * Lifts the ancestor's restrictions: stages of any number of layers, chosen together with their strategies, and every
 * degree that divides the ranks. Never slower than `even`, the best plan under the restrictions.
 *
 * The step time only reads the first stage, the last and the sum of all, so the stages between are divided by a small
 * DP over layers, and first and last are enumerated. Where gradient synchronisation sticks out of a later stage (it
 * has more of it than all stages before compute), divisions are tried one by one, {@link MOST_DIVISIONS} at most.
 */
export function searchUneven(
  search: AncestorCase,
  profile: FittedProfile,
  even: SearchOutcome,
  space: StrategySpace = strategySpace(search, true),
): SearchOutcome {
  const kindOfLayer = kindsOfLayers(search);
  const { usableMB } = memoryBudget(search.memoryGB);
  const places: Place[] = [];
  const proof: Proof = { complete: even.proven, laterExposed: false, divisions: 0 };
  for (const freedom of freedoms(search, profile, space, true, false)) {
    const { tables, sub, allowed, vocabulary, bufferMB } = freedom;
    if (kindOfLayer.length < tables.stages) continue;
    const stages = new StageCosts(stageOptions(tables, allowed, profile.kinds.length), kindOfLayer, proof);
    for (const choice of vocabulary) {
      const budgetMB = choice.memoryMB.map((used) => usableMB - used - bufferMB);
      const problem: DivisionProblem = {
        stages: tables.stages,
        microBatches: tables.microBatches,
        rest: choice.unsynced,
        depth: stages.depth,
        oneKind: stages.kinds === 1,
      };
      const time: StageTime = (stage, from, to) => stages.bound(stage, budgetMB[stage]!, from, to);
      const withSync: FirstWithSync = (weight, to) => stages.boundWithSync(weight, budgetMB[0]!, to);
      const divisions = new Divisions(problem, time, withSync);
      const slowest =
        even.best === null ? Infinity : (even.best.time / even.best.globalBatch) * tables.globalBatch;
      const bound = divisions.ends(slowest)[0]?.bound;
      if (bound !== undefined) {
        places.push({
          tables,
          sub,
          vocabulary: choice,
          budgetMB,
          bound,
          problem,
          freedom,
          stages,
          divisions,
        });
      }
    }
  }
  places.sort((a, b) => perSample(a) - perSample(b));
  let best = even.best;
  let solved = 0;
  for (const place of places) {
    const fastest = best === null ? Infinity : best.time / best.globalBatch;
    if (perSample(place) >= fastest * (1 - 1e-12)) break;
    solved++;
    best = solve(place, kindOfLayer, usableMB, best) ?? best;
  }
  return { best, candidates: places.length, solved, proven: proof.complete };
}

/** The best plan of one place if it beats `best`. */
function solve(
  place: Place,
  kindOfLayer: Int32Array,
  usableMB: number,
  best: Assignment | null,
): Assignment | null {
  const { tables, freedom, vocabulary, budgetMB, stages } = place;
  let cutoff = best === null ? Infinity : (best.time / best.globalBatch) * tables.globalBatch;
  let found: Assignment | null = null;
  const options = stageOptions(tables, freedom.allowed, stages.kinds);
  const attempt = (division: readonly number[]): void => {
    const set = stageSet(tables, options, kindOfLayer, division);
    const solution = solveEven(tables, set, vocabulary.unsynced, budgetMB, cutoff, stages.proof);
    if (solution === null) return;
    cutoff = solution.time;
    found = assignmentOf(place, kindOfLayer, set, solution, usableMB);
  };
  const time: StageTime = (stage, from, to) => stages.exact(stage, budgetMB[stage]!, from, to);
  const withSync: FirstWithSync = (weight, to) => stages.boundWithSync(weight, budgetMB[0]!, to);
  const whole = new Divisions(place.problem, time, withSync);
  stages.proof.laterExposed = false;
  for (const { first, lastFrom, bound } of place.divisions.ends(cutoff)) {
    if (bound >= cutoff * (1 - 1e-12)) break;
    if (whole.bound(first, lastFrom, cutoff) < cutoff * (1 - 1e-12)) attempt(whole.division(first, lastFrom));
  }
  if (stages.proof.laterExposed) {
    for (const division of closeDivisions(place, time, () => cutoff)) attempt(division);
  }
  return found;
}

/** Divisions tried one by one at most in a search, where exposed synchronisation of later stages matters. */
const MOST_DIVISIONS: number = 1000;

/** All divisions whose steady step time is below `cutoff()`, until the search has tried {@link MOST_DIVISIONS}. */
function* closeDivisions(place: Place, time: StageTime, cutoff: () => number): Generator<readonly number[]> {
  const { tables, vocabulary, stages } = place;
  const proof = stages.proof;
  const last = tables.stages - 1;
  const division: number[] = [];
  function* extend(from: number, first: number, sum: number): Generator<readonly number[]> {
    const stage = division.length;
    const longest = stage === last ? stages.depth : stages.depth - (last - stage);
    for (let to = stage === last ? stages.depth : from + 1; to <= longest; to++) {
      const own = time(stage, from, to) + vocabulary.unsynced[stage]!;
      const total = sum + own;
      if (total >= cutoff() || proof.divisions >= MOST_DIVISIONS) return;
      division.push(to - from);
      if (stage < last) yield* extend(to, stage === 0 ? own : first, total);
      else if (steadyTime(first, total, own, tables.stages, tables.microBatches) < cutoff()) {
        proof.divisions++;
        if (proof.divisions >= MOST_DIVISIONS) proof.complete = false;
        yield [...division];
      }
      division.pop();
    }
  }
  yield* extend(0, 0, 0);
}
