import { GalvatronError } from "../base/errors.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import type { LoweredPlan } from "../program/lower-plan.js";
import { keepsStates } from "../program/state-region.js";
import type { BatchPhase } from "./batch-ramp.js";
import { type CompileOptions, compilePlan } from "./compile-plan.js";
import type { TrainJob, TrainPhase } from "./coordinator/train.js";

/** The plan of a phase: the same strategies and micro-batches, fewer of them. */
export function phasePlan(plan: Plan, { globalBatch }: BatchPhase): Plan {
  return { ...plan, globalBatch, microBatches: (globalBatch * plan.microBatches) / plan.globalBatch };
}

/**
 * Programs for every phase of a ramp, the plan's own last. All keep a rank's states at the same addresses of arenas of
 * one size, so that one goes on where the other ended and nothing is copied.
 *
 * @param labelsPerSample - that the loss is the mean over
 * @throws GalvatronError PLAN_INVALID; PROGRAM_INVALID, which is our own mistake
 */
export function compileRamp(
  model: ModelSpec,
  plan: Plan,
  phases: readonly BatchPhase[],
  labelsPerSample: number,
  options: CompileOptions,
): readonly LoweredPlan[] {
  const all = phases.map((phase) =>
    compilePlan(model, phasePlan(plan, phase), {
      ...options,
      lossTokens: phase.globalBatch * labelsPerSample,
    }),
  );
  const arenaBytes = Array.from({ length: plan.ranks }, (_, rank) =>
    Math.max(...all.map(({ programs }) => programs[rank]!.arenaBytes)),
  );
  const alike = all.map(({ programs, graphs }) => ({
    programs: programs.map((program, rank) => ({ ...program, arenaBytes: arenaBytes[rank]! })),
    graphs,
  }));
  for (const { programs } of alike)
    if (!programs.every((program, rank) => keepsStates(alike[0]!.programs[rank]!, program)))
      throw new GalvatronError(
        "PROGRAM_INVALID",
        `The compiler placed the states of ${programs[0]!.plan.globalBatch} samples a step elsewhere than those of ${phases[0]!.globalBatch} (please report this with the plan).`,
      );
  return alike;
}

/** What a training runs of the Programs of consecutive phases: the last without end, those before it as its ramp. */
export function trainPhases(
  model: ModelSpec,
  phases: readonly BatchPhase[],
  compiled: readonly LoweredPlan[],
): TrainPhase & Pick<TrainJob, "rampUp"> {
  const trained = compiled.map((one, index) => ({
    ...one,
    tokensPerStep: phases[index]!.globalBatch * model.sequence,
  }));
  const rampUp = trained
    .slice(0, -1)
    .map((phase, index) => ({ ...phase, endStep: phases[index + 1]!.firstStep }));
  return { ...trained.at(-1)!, ...(rampUp.length > 0 && { rampUp }) };
}
