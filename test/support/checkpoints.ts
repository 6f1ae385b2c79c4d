import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import type { Program } from "../../src/program/program.js";
import { STATE_KINDS } from "../../src/program/state-blocks.js";
import { readManifest } from "../../src/runtime/checkpoint/checkpoint-folder.js";
import { type CheckpointOrigin, modelSha256 } from "../../src/runtime/checkpoint/manifest-json.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openSaver, type SavedCheckpoint } from "../../src/runtime/coordinator/checkpoint-saver.js";
import { stepLoss } from "../../src/runtime/coordinator/step-loss.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { hyperValues, optimizerFrom } from "../../src/runtime/optimizer.js";
import { type FullRows, fullRows, randomInputs } from "../../src/runtime/verify/random-inputs.js";
import { type WholeParameters, wholeParameters } from "../../src/runtime/verify/whole-parameters.js";

export const BATCH = 8;
const SEED = 11;
/** The large epsilon keeps elements whose true gradient is zero from moving with their rounding errors. */
const OPTIMIZER = optimizerFrom(
  { learningRate: { peak: 1e-2, warmupSteps: 0, schedule: { kind: "constant" } }, epsilon: 1e-3 },
  100,
);

export function originOf(model: ModelSpec, plan: Plan): CheckpointOrigin {
  return {
    model: { name: model.name, sha256: modelSha256(model) },
    plan,
    seed: SEED,
    steps: 100,
    optimizer: OPTIMIZER,
    data: { sha256: "0".repeat(64), samplesPerStep: plan.globalBatch },
  };
}

/** Weights and both moments, whole. */
export async function wholeStates(pool: WorkerPool, programs: readonly Program[]): Promise<WholeParameters> {
  const states = new Map<string, Float32Array>();
  for (const state of STATE_KINDS)
    for (const [name, values] of await wholeParameters(pool, programs, state))
      states.set(`${state} ${name}`, values);
  return states;
}

/** Names of the states that differ in any bit, or are missing. */
export function differing(a: WholeParameters, b: WholeParameters): readonly string[] {
  const names = new Set([...a.keys(), ...b.keys()]);
  return [...names].filter((name) => {
    const [one, other] = [a.get(name), b.get(name)];
    return !one || !other || Buffer.compare(Buffer.from(one.buffer), Buffer.from(other.buffer)) !== 0;
  });
}

/** A model on its way through plans: inputs of a step depend on the step alone, so every plan sees the same. */
export interface Trainee {
  /** Losses of steps `[first, first + count)` of what is loaded. */
  steps(programs: readonly Program[], first: number, count: number): Promise<readonly number[]>;
  load(plan: Plan, checkpoint?: SavedCheckpoint): Promise<readonly Program[]>;
  save(plan: Plan, programs: readonly Program[], folder: string, step: number): Promise<SavedCheckpoint>;
}

export function trainee(pool: WorkerPool, model: ModelSpec): Trainee {
  const alone = compilePlan(model, uniformPlan(model, { ranks: 1, globalBatch: BATCH }));
  const rows: FullRows = fullRows(alone.programs[0]!);
  return {
    load: async (plan, checkpoint) => {
      const { programs, graphs } = compilePlan(model, plan);
      const files = checkpoint
        ? { restore: { path: checkpoint.path, files: readManifest(checkpoint.path).files } }
        : {};
      await pool.load({
        programs,
        graphs,
        seed: SEED,
        feed: null,
        firstStep: checkpoint?.step ?? 0,
        ...files,
      });
      return programs;
    },
    steps: async (programs, first, count) => {
      const losses: number[] = [];
      for (let step = first; step < first + count; step++) {
        const hyper = new Uint8Array(hyperValues(OPTIMIZER, step, 100).buffer);
        await Promise.all(
          programs.map((program) =>
            pool.write(program.rank, [
              { tensor: program.io.hyper, bytes: hyper },
              ...randomInputs(program, rows, model.vocabulary, SEED, step),
            ]),
          ),
        );
        const [ranks] = await pool.run(1);
        losses.push(stepLoss(programs[0]!.plan, ranks!));
      }
      return losses;
    },
    save: async (plan, programs, folder, step) => {
      let saved: SavedCheckpoint | null = null;
      const job = { folder, every: null, keep: null, copyBytes: 2 ** 16, origin: originOf(model, plan) };
      const saver = openSaver(pool, programs, job, {
        onSaved: (one) => {
          saved = one;
        },
        onFailure: () => {},
      });
      await saver.save(step, () => performance.now());
      await saver.idle();
      return saved!;
    },
  };
}
