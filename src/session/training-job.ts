import { canonical } from "../base/canonical-json.js";
import { GalvatronError } from "../base/errors.js";
import { BYTES_PER_MB } from "../base/units.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { GradientOrder, Plan } from "../plan/plan.js";
import { type LoweredPlan, lossTokensOf } from "../program/lower-plan.js";
import { type BatchPhase, type BatchRamp, batchPhases, phaseAt } from "../runtime/batch-ramp.js";
import {
  findCheckpoint,
  openCheckpointFolder,
  readManifest,
} from "../runtime/checkpoint/checkpoint-folder.js";
import { type CheckpointManifest, datasetSha256, modelSha256 } from "../runtime/checkpoint/manifest-json.js";
import { compileRamp, trainPhases } from "../runtime/compile-ramp.js";
import type { TrainJob } from "../runtime/coordinator/train.js";
import type { DataDescription } from "../runtime/data/data-description.js";
import type { Dataset } from "../runtime/data/dataset.js";
import { type FoundData, findData } from "../runtime/data/find-data.js";
import { heldOutOf } from "../runtime/data/held-out.js";
import { labelsOf } from "../runtime/data/objectives/objective.js";
import type { LearningRate } from "../runtime/learning-rate.js";
import { type Optimizer, type OptimizerOptions, optimizerFrom } from "../runtime/optimizer.js";
import type { EvaluationFeed, Feed } from "../runtime/wire.js";
import type { FoundPlan } from "./find-plan.js";
import { noteCheckpoint, noteTraining } from "./notes.js";
import type { Session } from "./session.js";
import { exportJob, inFolder, type WeightsOptions, weightsFrom } from "./weights.js";

/** Where and when a run saves what it has learned. */
export interface CheckpointOptions {
  /** Folder of checkpoints, one folder inside it for each; made when it is not there. */
  readonly folder: string;
  /** Saves after every so many steps; only after the last when left out. */
  readonly every?: number;
  /** How many of the newest checkpoints stay; all when left out. */
  readonly keep?: number;
}

/** How a training is evaluated on samples that it never sees. */
export interface EvaluateOptions {
  /** Data of its own, taken whole unless it holds samples out; the held-out samples of the training's data when left out. */
  readonly data?: DataDescription;
  /** After every so many steps; always after the last. */
  readonly every?: number;
  /** Samples at most; all when left out. */
  readonly samples?: number;
}

/** What to train on, how long, and how. */
export interface TrainOptions extends OptimizerOptions {
  /** What to train on: `text("…")`, `jsonl(…)`, `columns(…)`, `indexed(…)`, `images(…)`, `arrays(…)` or `synthetic()`. */
  readonly data: DataDescription;
  /** Steps of the whole training, those before a resumed checkpoint included. */
  readonly steps: number;
  /** When and on what to evaluate. When left out: after the last step, where the data holds samples out. */
  readonly evaluate?: EvaluateOptions;
  /** Of parameters and sample order; 0 when left out. The same seed gives the same run. */
  readonly seed?: number;
  /** Peak of the learning rate, or peak, warm-up and schedule. */
  readonly learningRate?: number | Partial<LearningRate>;
  /**
   * Starts with a smaller global batch, which grows to the plan's: `{ start: 16, increment: 16, samples: 4096 }`. Samples of
   * a micro-batch stay as they are. Steps are counted as ever, and the learning rate follows them.
   */
  readonly rampUp?: BatchRamp;
  /**
   * Another order of sums than the plan's, or than that of the run that is resumed: what `plan.gradientOrder` says, for
   * this training. `canonical`, the host's own, gives plans that differ only in data parallel, ZeRO, stages or recompute
   * the same bits; `deferred` may be a little faster. Either repeats itself bit for bit.
   */
  readonly gradientOrder?: GradientOrder;
  /** Saves weights, optimizer state and position, so that the run can be resumed under any plan. */
  readonly checkpoint?: CheckpointOptions;
  /**
   * Goes on from a checkpoint, or from the newest of a folder of checkpoints, whatever plan wrote it. Seed and
   * optimizer are its own unless they are given.
   */
  readonly resume?: string;
  /** Folder of Hugging Face weights (safetensors) of this model to start from, instead of the seed's parameters. */
  readonly weights?: string;
  /** Writes the weights for Hugging Face when the run has ended: a folder, or a folder and how. */
  readonly export?: string | WeightsOptions;
}

/** Memory that a rank may always take for copies of its states. */
const LEAST_COPY_BYTES = 16 * BYTES_PER_MB;

/** A training that has been checked, and what must still be read before it starts. */
export interface PlannedTraining {
  readonly job: Omit<TrainJob, "feed">;
  /** Prepares the data. @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, DATA_INVALID */
  feed(): Promise<Feed>;
}

/**
 * All that a training needs, checked before anything starts.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID, ARGUMENT_INVALID, CHECKPOINT_INVALID
 */
export function trainingJob(found: FoundPlan, options: TrainOptions, session: Session): PlannedTraining {
  const { steps, data, checkpoint, resume, weights } = options;
  const { model } = found;
  requireWhole("steps", steps, 1);
  if (options.seed !== undefined) requireWhole("seed", options.seed, 0);
  if (resume !== undefined && weights !== undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      "A resumed run has the weights of its checkpoint: give resume or weights, not both.",
    );
  const path = resume === undefined ? null : findCheckpoint(inFolder(session, resume));
  const resumed = path === null ? null : readManifest(path);
  if (path !== null && resumed) requireContinuation(path, resumed, found, options);
  const plan = orderedPlan(found, options.gradientOrder, resumed?.plan, session);
  const seed = options.seed ?? resumed?.seed ?? 0;
  const foundData = findData(data, model, seed, session);
  const evaluation = plannedEvaluation(options, model, seed, session);
  const dataSha256 = datasetSha256(foundData);
  if (resumed && resumed.data.sha256 !== dataSha256)
    session.reporter.notice(
      `The checkpoint was trained on other data: the run goes on at sample ${resumed.samples} of the new data's order.`,
    );
  if (resumed && resumed.steps !== steps)
    session.reporter.notice(
      `The checkpoint's run was to have ${resumed.steps} steps, this one ${steps}: the learning rate goes on as in a run of ${steps}.`,
    );
  const rampUp = options.rampUp ?? resumed?.data.rampUp;
  const phases = batchPhases(rampUp ?? null, plan.globalBatch, plan.globalBatch / plan.microBatches);
  const firstStep = resumed?.step ?? 0;
  // What is resumed has some of them behind it.
  const ahead = phases.filter((_, index) => (phases[index + 1]?.firstStep ?? steps) > firstStep);
  if (phases.at(-1)!.firstStep >= steps)
    session.reporter.notice(
      `The batch grows for ${phases.at(-1)!.firstStep} steps; a training of ${steps} ends at ${phaseAt(phases, steps - 1).globalBatch} of ${plan.globalBatch} samples a step.`,
    );
  const optimizer = optimizerFrom(resumed ? continued(resumed.optimizer, options) : options, steps);
  if (checkpoint) {
    if (checkpoint.every !== undefined) requireWhole("checkpoint.every", checkpoint.every, 1);
    if (checkpoint.keep !== undefined) requireWhole("checkpoint.keep", checkpoint.keep, 1);
    openCheckpointFolder(inFolder(session, checkpoint.folder), path);
  }
  noteTraining(model, plan, foundData.files, seed, session.folder);
  if (path !== null && resumed) noteCheckpoint(path, resumed);
  const job = {
    ...trainPhases(model, ahead, loweredFor(found, plan, ahead, labelsOf(foundData.objective))),
    seed,
    firstStep,
    ...(path !== null && resumed && { restore: { path, files: resumed.files } }),
    ...(weights !== undefined && { weights: weightsFrom(session, weights, model) }),
    ...(options.export !== undefined && { exports: exportJob(session, options.export, model) }),
    ...(checkpoint && {
      checkpoints: {
        folder: inFolder(session, checkpoint.folder),
        every: checkpoint.every ?? null,
        keep: checkpoint.keep ?? null,
        copyBytes: copyBytes(found),
        origin: {
          model: { name: model.name, sha256: modelSha256(model) },
          plan,
          seed,
          steps,
          optimizer,
          data: { sha256: dataSha256, samplesPerStep: plan.globalBatch, ...(rampUp && { rampUp }) },
        },
      },
    }),
  };
  return {
    job,
    feed: async () => {
      const dataset = await prepared(foundData, session);
      return {
        dataset,
        optimizer,
        steps,
        ...(rampUp && { phases }),
        ...(evaluation && { evaluation: await evaluation(dataset) }),
      };
    },
  };
}

/** The plan with the order of sums that was asked for, or else that of the run that goes on, or else its own. */
function orderedPlan(
  { report: { plan }, machine }: FoundPlan,
  asked: GradientOrder | undefined,
  resumed: Plan | undefined,
  session: Session,
): Plan {
  const orderOf = (one: Plan): GradientOrder => one.gradientOrder ?? "deferred";
  const own = orderOf(plan);
  const before = resumed ? orderOf(resumed) : own;
  const possible = before === "deferred" || machine.machine.cluster.device === "host";
  const order = asked ?? (possible ? before : own);
  if (resumed && order !== before)
    session.reporter.notice(
      `The checkpoint's run added gradients up in ${before} order, this one does in ${order} order: last bits may differ.`,
    );
  else if (resumed && order !== own)
    session.reporter.notice(`Gradients are added up in ${order} order, as by the run that is resumed.`);
  return order === own ? plan : { ...plan, gradientOrder: order };
}

/**
 * Programs of a plan, the found one or the same in another order of sums, whose loss is the mean over so many labels
 * of a sample.
 */
export function loweredFor(
  { lowered, model, report, machine }: FoundPlan,
  plan: Plan,
  phases: readonly BatchPhase[],
  labelsPerSample: number,
): readonly LoweredPlan[] {
  const lossTokens = plan.globalBatch * labelsPerSample;
  const isCompiled = lossTokens === lossTokensOf(model, plan) && plan === report.plan;
  if (phases.length === 1 && isCompiled) return [lowered];
  const { device } = machine.machine.cluster;
  return compileRamp(model, plan, phases, labelsPerSample, { device });
}

export async function prepared(found: FoundData, session: Session): Promise<Dataset> {
  if (found.isReady) return await found.prepare();
  const bar = session.reporter.progress("Reading data");
  try {
    return await found.prepare((progress) => bar.update(progress));
  } finally {
    bar.end();
  }
}

/** What to evaluate on, once the training's data is there; null: nothing. */
function plannedEvaluation(
  { data, steps, evaluate = "heldOut" in data && data.heldOut > 0 ? {} : undefined }: TrainOptions,
  model: ModelSpec,
  seed: number,
  session: Session,
): ((training: Dataset) => Promise<EvaluationFeed>) | null {
  if (!evaluate) return null;
  const { every = steps, samples = Number.MAX_SAFE_INTEGER } = evaluate;
  requireWhole("evaluate.every", every, 1);
  requireWhole("evaluate.samples", samples, 1);
  const apart = evaluate.data ? findData(evaluate.data, model, seed, session) : null;
  return async (training) => ({
    ...heldOutOf(training, apart && (await prepared(apart, session)), samples),
    every,
  });
}

/** What the budget leaves beside the plan; a device's states are copied into the host's memory, which has no budget. */
function copyBytes({ machine, report, memoryBytesByRank }: FoundPlan): number {
  if (machine.machine.cluster.device !== "host") return Number.MAX_SAFE_INTEGER;
  return Math.max(LEAST_COPY_BYTES, report.budgetBytes - Math.max(...memoryBytesByRank));
}

function requireContinuation(
  path: string,
  resumed: CheckpointManifest,
  { model, report }: FoundPlan,
  { steps, seed, rampUp }: TrainOptions,
): void {
  if (resumed.model.sha256 !== modelSha256(model))
    throw new GalvatronError(
      "CHECKPOINT_INVALID",
      `${path} is of another model (${resumed.model.name}); this plan trains ${model.name} with other sizes or options. Resume with the model that it was saved from.`,
      { path },
    );
  const invalid = (reason: string): GalvatronError =>
    new GalvatronError("ARGUMENT_INVALID", `${path}: ${reason}`, { path });
  if (seed !== undefined && seed !== resumed.seed)
    throw invalid(
      `its samples are ordered by seed ${resumed.seed}, so a resumed run cannot take seed ${seed}. Leave the seed out.`,
    );
  const { samplesPerStep } = resumed.data;
  if (report.plan.globalBatch !== samplesPerStep)
    throw invalid(
      `it took ${samplesPerStep} samples a step, this plan takes ${report.plan.globalBatch}, so the order of the samples would not go on. Use a plan for a global batch of ${samplesPerStep}.`,
    );
  if (rampUp !== undefined && canonical(rampUp) !== canonical(resumed.data.rampUp ?? null))
    throw invalid(
      `its batch ${resumed.data.rampUp ? `grew by ${JSON.stringify(resumed.data.rampUp)}` : "did not grow"}, so the order of the samples would not go on with ${JSON.stringify(rampUp)}. Leave rampUp out.`,
    );
  if (steps <= resumed.step)
    throw invalid(
      `it has ${resumed.step} steps already, and steps: ${steps} counts them too. Ask for more than ${resumed.step}.`,
    );
}

/** The checkpoint's optimizer, but for what is asked to differ. */
function continued(own: Optimizer, options: TrainOptions): OptimizerOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const { learningRate } = options;
  const rate = typeof learningRate === "number" ? { peak: learningRate } : learningRate;
  return { ...own, ...given, learningRate: { ...own.learningRate, ...rate } };
}

export function requireWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new GalvatronError(
    "ARGUMENT_INVALID",
    `Expected a whole number of at least ${least} for ${name}, got ${value}.`,
    { name, value },
  );
}
