import type { OnProgress } from "../../base/progress.js";
import type { ModelSpec } from "../../model/model-spec.js";
import type { Plan } from "../../plan/plan.js";
import { uniformPlan } from "../../plan/uniform.js";
import type { LoweredPlan } from "../../program/lower-plan.js";
import { compilePlan } from "../compile-plan.js";
import { stepLoss } from "../coordinator/step-loss.js";
import type { WorkerPool } from "../coordinator/worker-pool.js";
import { hyperValues, type Optimizer } from "../optimizer.js";
import { type FullRows, fullRows, randomInputs } from "./random-inputs.js";
import { type WholeParameters, wholeParameters } from "./whole-parameters.js";

/** How far a plan's training was from that of one rank. */
export interface PlanDifference {
  readonly plan: Plan;
  /** Largest relative difference of a step's loss. */
  readonly loss: number;
  /**
   * Over the gradient tensors of the first step, the largest difference over the tensor's largest gradient; where that
   * is nothing but rounding, over the global norm.
   */
  readonly gradient: number;
  /** ‖Δθ‖ / ‖θ‖ over the whole model after the last step. */
  readonly weights: number;
  /** The largest of the three. */
  readonly largest: number;
  readonly worstTensor: string;
}

export interface VerifyReport {
  /** How far the reference itself moved, ‖Δθ‖ / ‖θ‖: small means that nothing was proven. */
  readonly referenceMoved: number;
  readonly differences: readonly PlanDifference[];
}

/** Changes the Programs before they run: how tests see that a fault is found. */
export type Tamper = (lowered: LoweredPlan) => LoweredPlan;

/** Steps of every training. */
const VERIFY_STEPS = 5;

/** A gradient tensor whose largest element is below this share of the global norm is zero in truth (key biases). */
const ZERO_SHARE = 1e-6;

/**
 * Constant rate, some decay, clipping that acts. The large epsilon keeps elements whose true gradient is zero from
 * moving by the full rate in the direction of their rounding error.
 */
const OPTIMIZER: Optimizer = {
  learningRate: { peak: 2e-2, warmupSteps: 0, schedule: { kind: "constant" } },
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-3,
  weightDecay: 0.1,
  maxNorm: 1,
};

interface Trained {
  readonly losses: readonly number[];
  readonly gradients: WholeParameters;
  readonly before: WholeParameters;
  readonly after: WholeParameters;
}

/** Trains a model for a few steps on one rank and under every plan, in the processes of one pool. */
export async function verifyPlans(
  pool: WorkerPool,
  model: ModelSpec,
  plans: readonly Plan[],
  seed: number,
  onProgress: OnProgress,
  tamper: Tamper = (lowered) => lowered,
): Promise<VerifyReport> {
  const { globalBatch = 8, precision = "float32" } = plans[0] ?? {};
  const alone = compilePlan(model, uniformPlan(model, { ranks: 1, globalBatch, precision }));
  const rows = fullRows(alone.programs[0]!);
  const reference = await train(pool, model, alone, rows, seed);
  const differences: PlanDifference[] = [];
  for (const [done, plan] of plans.entries()) {
    onProgress({ label: `plan ${done + 1} of ${plans.length}`, done, total: plans.length });
    const found = await train(pool, model, tamper(compilePlan(model, plan)), rows, seed);
    differences.push(differenceOf(plan, reference, found));
  }
  onProgress({ label: "verified", done: plans.length, total: plans.length });
  return { referenceMoved: distance(reference.before, reference.after), differences };
}

async function train(
  pool: WorkerPool,
  model: ModelSpec,
  { programs, graphs }: LoweredPlan,
  rows: FullRows,
  seed: number,
): Promise<Trained> {
  await pool.load({ programs, graphs, seed, feed: null, firstStep: 0 });
  const before = await wholeParameters(pool, programs, "parameter");
  const losses: number[] = [];
  let gradients: WholeParameters = new Map();
  for (let step = 0; step < VERIFY_STEPS; step++) {
    const hyper = new Uint8Array(hyperValues(OPTIMIZER, step, VERIFY_STEPS).buffer);
    await Promise.all(
      programs.map((program) =>
        pool.write(program.rank, [
          { tensor: program.io.hyper, bytes: hyper },
          ...randomInputs(program, rows, model.vocabulary, seed, step),
        ]),
      ),
    );
    const [ranks] = await pool.run(1);
    losses.push(stepLoss(programs[0]!.plan, ranks!));
    if (step === 0) gradients = await wholeParameters(pool, programs, "gradient");
  }
  return { losses, gradients, before, after: await wholeParameters(pool, programs, "parameter") };
}

function differenceOf(plan: Plan, reference: Trained, found: Trained): PlanDifference {
  const loss = Math.max(
    ...reference.losses.map((own, step) => Math.abs(found.losses[step]! - own) / Math.abs(own)),
  );
  const norm = Math.sqrt([...reference.gradients.values()].reduce((sum, values) => sum + squares(values), 0));
  let gradient = 0;
  let worstTensor = "";
  for (const [name, own] of reference.gradients) {
    const other = found.gradients.get(name);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = other
      ? own.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i]!)), 0)
      : Number.POSITIVE_INFINITY;
    const relative = apart / (largest < ZERO_SHARE * norm ? norm : largest);
    // NaN is no small difference.
    if (Number.isNaN(relative) || relative > gradient) {
      gradient = Number.isNaN(relative) ? Number.POSITIVE_INFINITY : relative;
      worstTensor = name;
    }
  }
  const weights = distance(reference.after, found.after);
  const worst = [loss, gradient, weights].reduce((a, b) => (Number.isNaN(a) || a > b ? a : b));
  return {
    plan,
    loss,
    gradient,
    weights,
    largest: Number.isNaN(worst) ? Number.POSITIVE_INFINITY : worst,
    worstTensor,
  };
}

/** ‖b − a‖ / ‖a‖ over all tensors. */
function distance(a: WholeParameters, b: WholeParameters): number {
  let apart = 0;
  let norm = 0;
  for (const [name, own] of a) {
    const other = b.get(name);
    norm += squares(own);
    apart += other
      ? own.reduce((sum, value, i) => sum + (value - other[i]!) ** 2, 0)
      : Number.POSITIVE_INFINITY;
  }
  return Math.sqrt(apart / norm);
}

function squares(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}
