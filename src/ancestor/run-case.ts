import type { Plan } from "../plan/plan.js";
import { searchLikeAncestor } from "./ancestor-choice.js";
import { strategyText } from "./ancestor-strategy.js";
import type { AncestorCase } from "./case.js";
import { readCase, readInputs } from "./case-json.js";
import type { FittedProfile } from "./cost/fitted-profile.js";
import { fitProfile } from "./fit-profile.js";
import { planOfAssignment } from "./plan-of-assignment.js";
import { type SearchOutcome, searchEven } from "./search.js";
import { memoryBudget } from "./sub-search.js";
import { searchUneven } from "./uneven-search.js";

/**
 * Which plan is looked for.
 * - `even`: the best of the ancestor's space (even division, powers of two).
 * - `unrestricted`: also uneven divisions and every degree.
 * - `ancestor`: the plan that the ancestor itself would choose.
 */
export type CaseSearch = "even" | "unrestricted" | "ancestor";

export interface CaseResult {
  readonly status: "ok" | "no_solution";
  /** Samples per second; 0 without a solution. */
  readonly throughput: number;
  /** Seconds of a step. */
  readonly timeCost: number | null;
  readonly plan: Plan | null;
  /** As the ancestor counts it, its reserve included. */
  readonly memoryMBPerStage: readonly number[] | null;
  /** From parsed profiles to the plan, fits and tables included. */
  readonly searchMs: number;
  /** No plan of the searched space is faster under this cost model. */
  readonly proven: boolean;
  /** False where the ancestor's cost model floored something, so that no runtime could execute the plan. */
  readonly executable: boolean | null;
  /** Why it cannot be executed, or why there is no plan. */
  readonly reasons: readonly string[];
  /** Layers in the ancestor's notation. */
  readonly strategies: readonly string[];
  readonly vocabulary: string | null;
}

/**
 * Runs one case of the ancestor under its own cost model.
 *
 * @param caseJson a parsed case file
 * @param readText text of a profile by its path below the inputs folder
 * @param now a clock in milliseconds
 * @throws GalvatronError ARGUMENT_INVALID, PROFILE_INVALID or PROFILE_INCOMPLETE
 */
export function runCase(
  caseJson: unknown,
  readText: (path: string) => string,
  now: () => number,
  which: CaseSearch = "even",
): CaseResult {
  const search = readCase(caseJson, "case");
  const inputs = readInputs(search, readText);
  const start = now();
  const { best, proven } = find(search, fitProfile(search, inputs), which);
  const converted = best === null ? null : planOfAssignment(search, best);
  const searchMs = now() - start;
  if (best === null || converted === null) {
    return {
      status: "no_solution",
      throughput: 0,
      timeCost: null,
      plan: null,
      memoryMBPerStage: null,
      searchMs,
      proven,
      executable: null,
      reasons: [`no plan of the searched space fits ${memoryBudget(search.memoryGB).usableMB} MB`],
      strategies: [],
      vocabulary: null,
    };
  }
  const { reserveMB } = memoryBudget(search.memoryGB);
  return {
    status: "ok",
    throughput: best.globalBatch / best.time,
    timeCost: best.time,
    plan: converted.plan,
    memoryMBPerStage: best.usedMB.map((used) => used + reserveMB),
    searchMs,
    proven,
    executable: converted.executable,
    reasons: converted.reasons,
    strategies: best.layers.map(strategyText),
    vocabulary: strategyText(best.vocabulary),
  };
}

function find(
  search: AncestorCase,
  profile: FittedProfile,
  which: CaseSearch,
): Pick<SearchOutcome, "best" | "proven"> {
  if (which === "ancestor") return { best: searchLikeAncestor(search, profile), proven: false };
  const even = searchEven(search, profile);
  return which === "even" ? even : searchUneven(search, profile, even);
}
