import { GalvatronError } from "../base/errors.js";
import { memoryText, neededText } from "../base/memory-size.js";
import { costModel } from "../cost/cost-model.js";
import type { Prediction } from "../cost/prediction.js";
import { chromeTrace } from "../display/chrome-trace.js";
import { costFigure } from "../display/cost-figure.js";
import type { Figure } from "../display/figure.js";
import { memoryFigure } from "../display/memory-figure.js";
import type { MimeBundle } from "../display/mime.js";
import { searchFigure } from "../display/search-figure.js";
import { strategyFigure } from "../display/strategy-figure.js";
import { timelineFigure } from "../display/timeline-figure.js";
import type { TrainingExpectation } from "../display/training-figure.js";
import type { ModelSpec } from "../model/model-spec.js";
import { planJsonText } from "../model/plan-json.js";
import { describePlan } from "../plan/describe-plan.js";
import type { Plan } from "../plan/plan.js";
import { type Messages, messagesOf } from "../program/messages.js";
import type { Program } from "../program/program.js";
import { programDurations } from "../program/program-durations.js";
import { simulate } from "../program/simulate.js";
import type { Evaluation } from "../program/step-record.js";
import type { Timeline } from "../program/timeline.js";
import type { BatchRamp } from "../runtime/batch-ramp.js";
import { machinePoolOptions } from "../runtime/coordinator/host-pool.js";
import { startTraining } from "../runtime/coordinator/train.js";
import type { Explanation } from "../search/explain.js";
import type { ParetoPoint } from "../search/pareto-front.js";
import { planDocument } from "../search/plan-document.js";
import type { SearchReport } from "../search/search-report.js";
import type { Change, WhatIf } from "../search/what-if.js";
import { deferredTraining } from "./deferred-training.js";
import { type EvaluationOptions, evaluatePlan } from "./evaluate.js";
import type { FoundPlan } from "./find-plan.js";
import { planProvenance } from "./notes.js";
import {
  budgetOf,
  holdersPicture,
  landscapePicture,
  layerNotes,
  planSummary,
  type Sweep,
  sweepPicture,
  trainingExpectation,
} from "./plan-pictures.js";
import {
  completeReportOf,
  explanationOf,
  frontOf,
  type PricedPhase,
  pricedPhases,
  whatIfOf,
} from "./plan-questions.js";
import { Run } from "./run.js";
import type { Session } from "./session.js";
import { figuresBundle, Picture, Shown } from "./show.js";
import { type TrainOptions, trainingJob } from "./training-job.js";
import { type ExportSource, exportJob, exportStates, type WeightsOptions } from "./weights.js";
import { writeTextFile } from "./write-text-file.js";

/** A plan with its prediction: explain it, look at it, train under it. */
export class PlanHandle extends Shown {
  private readonly session: Session;
  private readonly found: FoundPlan;
  private simulated: Timeline | null = null;

  /** @internal */
  constructor(session: Session, found: FoundPlan) {
    super();
    this.session = session;
    this.found = found;
  }

  /** The plan as plain data. */
  get data(): Plan {
    return this.found.report.plan;
  }

  /** The model that the plan is for, as plain data. */
  get model(): ModelSpec {
    return this.found.model;
  }

  /** Time and memory as they were priced before anything ran. */
  get prediction(): Prediction {
    return this.found.report.prediction;
  }

  /** All that the search found: candidates, why others lost, the bound. */
  get report(): SearchReport {
    return this.found.report;
  }

  /** The report with the best time and memory of every candidate: those that were only proven slower are searched now. */
  completeReport(): SearchReport {
    return completeReportOf(this.found);
  }

  /**
   * Why the plan is as it is, as data: which term binds, what each dimension buys (the best plan without it), why
   * neighbouring layers differ; `null` for a plan made by hand. {@link explain} says it in words.
   */
  explanation(): Explanation | null {
    return explanationOf(this.found);
  }

  /**
   * The best plan and its cost if something were different, by the equations: `plan.whatIf({ bandwidth: 2 })`.
   * @throws GalvatronError ARGUMENT_INVALID for numbers that are not above 0
   */
  whatIf(change: Change): WhatIf {
    return whatIfOf(this.found, change);
  }

  /**
   * The Pareto front of memory against throughput, leanest plan first, by the equations; {@link landscape} draws it.
   *
   * @param points - at most about so many
   */
  front(points = 16): readonly ParetoPoint[] {
    return frontOf(this.found, points);
  }

  /** The sizes of the batch where a training starts with fewer samples, and what a step of each is predicted to take. */
  rampUp(ramp: BatchRamp): readonly PricedPhase[] {
    return pricedPhases(this.found, ramp);
  }

  /** What each rank does in one step, as plain data. */
  programs(): readonly Program[] {
    return this.found.lowered.programs;
  }

  /** Bytes of each rank's process as its Program and the profiles say. */
  memoryBytesByRank(): readonly number[] {
    return this.found.memoryBytesByRank;
  }

  /** One step as the simulator sees it, as data. */
  predictedTimeline(): Timeline {
    if (this.simulated === null) {
      const cost = costModel(this.model, this.found.modelProfile, this.found.machine.hardware);
      this.simulated = simulate(this.programs(), programDurations(cost), { overlap: cost.overlap });
    }
    return this.simulated;
  }

  /** One step as the simulator sees it, drawn. */
  timeline(): Picture {
    return new Picture("", [timelineFigure([this.predictedTimeline()])]);
  }

  /**
   * Writes the predicted step for Perfetto (ui.perfetto.dev) or chrome://tracing: a process per rank, a thread per stream.
   * @throws GalvatronError FILE_UNWRITABLE
   */
  saveTrace(path: string): void {
    writeTextFile(path, "the trace", JSON.stringify(chromeTrace(this.predictedTimeline())));
  }

  /**
   * Who holds what of a layer: which share of its parameters, gradients and optimizer state every rank keeps.
   * @throws GalvatronError ARGUMENT_INVALID for a layer that is not there
   */
  holders(layer = 0): Picture {
    return holdersPicture(this.found, layer);
  }

  /** What a rank sends in one step, by kind: shows itself as a table. */
  messages(rank = 0): readonly Messages[] {
    const program = this.programs()[rank];
    if (!program)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        `Expected a rank from 0 to ${this.data.ranks - 1}, got ${rank}.`,
        { rank },
      );
    return messagesOf(program);
  }

  /**
   * The search landscape: the Pareto front of memory against throughput, and why the other choices lost.
   *
   * @param points - of the front, at most about so many
   */
  landscape(points = 12): Picture {
    return landscapePicture(this.found, points);
  }

  /**
   * What the best plan would reach if one quantity were different, over several values of it: `plan.sweep({ memory:
   * ["8GB", "16GB", "24GB"] })`. Memory is priced by the equations; no Programs are made.
   *
   * @throws GalvatronError ARGUMENT_INVALID
   */
  sweep(values: Sweep): Picture {
    return sweepPicture(this.found, values);
  }

  /** @internal */
  expectation(steps: number): TrainingExpectation {
    return trainingExpectation(this.found, steps);
  }

  /** The plan in a few lines: strategies in short, by runs of equal layers. */
  text(): string {
    return describePlan(this.data).join("\n");
  }

  /** Strategy map: which strategy every layer has, on which stage, and what it costs. */
  strategies(): Picture {
    return new Picture("", [strategyFigure(this.model, this.data, layerNotes(this.found))]);
  }

  /** Where the time of a step goes, by stage, against the bound. */
  cost(): Picture {
    return new Picture("", [costFigure(this.prediction, this.report.lowerBoundMs)]);
  }

  /** What fills the memory of every stage, against the budget; a plan by hand has one only near its machine's memory. */
  memory(): Picture {
    return new Picture("", [memoryFigure(this.prediction, budgetOf(this.report))]);
  }

  /** The plan in one line: "2 stages: 6 × dp2·zero3, 2 × tp2". */
  summary(): string {
    return planSummary(this.data);
  }

  /**
   * Why this plan: where its time and memory go, what each dimension buys, and what the other candidates came to.
   * {@link strategies} and {@link timeline} show the plan itself.
   */
  explain(): Picture {
    const { report, prediction } = this;
    const memory = Math.max(...this.memoryBytesByRank());
    const many = (status: string): number =>
      report.candidates.filter((candidate) => candidate.status === status).length;
    const lines = [
      this.text(),
      "",
      `Predicted: ${prediction.stepMs.toFixed(1)} ms a step, ${prediction.samplesPerSecond.toFixed(1)} samples/s, ${memoryText(memory)} of ${memoryText(report.budgetBytes)} on the fullest rank.`,
    ];
    if (report.candidates.length > 0)
      lines.push(
        `${report.candidates.length} outer choices: ${many("ok")} searched, ${many("pruned")} proven slower, ${many("no-plan-fits")} that fit no plan, ${many("invalid")} that divide nothing; no plan of the space is faster than ${report.lowerBoundMs.toFixed(1)} ms (gap ${(100 * report.gap).toFixed(1)} %).`,
        `The smallest budget with any plan is ${neededText(report.smallestBudgetBytes)} a rank.`,
        ...(this.explanation()?.text.split("\n") ?? []),
      );
    return new Picture(lines.join("\n"), [
      ...this.cost().figures,
      ...this.memory().figures,
      ...(report.candidates.length > 0 ? [searchFigure(report)] : []),
    ]);
  }

  /**
   * Trains under this plan in one worker process per rank. Returns at once.
   *
   * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID, ARGUMENT_INVALID, CHECKPOINT_INVALID, DEVICE_UNAVAILABLE
   * before anything starts
   */
  train(options: TrainOptions): Run {
    this.requireHere("train");
    const { job, feed } = trainingJob(this.found, options, this.session);
    const pool = { options: machinePoolOptions(this.found.machine.machine, this.data.ranks) };
    return new Run(this, options.steps, job.checkpoints !== undefined, (onStep) =>
      deferredTraining(feed().then((read) => startTraining({ ...job, feed: read }, pool, onStep))),
    );
  }

  /**
   * The loss, and for classifiers the accuracy, that parameters have on data: on its held-out samples, or on all of it
   * where it holds nothing out. They come from a checkpoint of any plan, from Hugging Face weights, or untrained from a
   * seed: `await plan.evaluate({ data, checkpoint: "runs/a" })`. Trains nothing.
   *
   * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID, ARGUMENT_INVALID, CHECKPOINT_INVALID, DEVICE_UNAVAILABLE
   */
  async evaluate(options: EvaluationOptions): Promise<Evaluation> {
    this.requireHere("evaluate");
    const pool = machinePoolOptions(this.found.machine.machine, this.data.ranks);
    return await evaluatePlan(this.found, pool, options, this.session);
  }

  /**
   * Writes weights for Hugging Face: `config.json` and safetensors under its names and shapes, which
   * `from_pretrained` reads. What is written comes from a checkpoint of any plan, from other weights or from a seed;
   * `train({ export })` writes what a run has learned. The ranks of this plan write a part each.
   *
   * @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, CHECKPOINT_INVALID, ARGUMENT_INVALID
   */
  async export(to: string | WeightsOptions, from: ExportSource = {}): Promise<void> {
    const pool = machinePoolOptions(this.found.machine.machine, this.data.ranks);
    await exportStates(this.session, this.found.lowered, pool, from, exportJob(this.session, to, this.model));
  }

  /**
   * Writes the plan and its model as JSON, for `galvatron train --plan`.
   * @throws GalvatronError FILE_UNWRITABLE
   */
  save(path: string): void {
    const document = planDocument(this.model, this.report, planProvenance(this.found));
    writeTextFile(path, "the plan", planJsonText(document));
  }

  override toString(): string {
    return `${this.text()}\npredicted ${this.prediction.stepMs.toFixed(1)} ms a step, ${memoryText(Math.max(...this.memoryBytesByRank()))} of ${memoryText(this.report.budgetBytes)} a rank`;
  }

  override bundle(): MimeBundle {
    return figuresBundle(this.toString(), this.figures());
  }

  private requireHere(verb: string): void {
    if (this.found.machine.elsewhere)
      throw new GalvatronError(
        "DEVICE_UNAVAILABLE",
        `This plan is for ${this.found.machine.hardware.cluster.name}, a machine that is not here. To ${verb} here, search on cluster().`,
      );
  }

  private figures(): readonly Figure[] {
    return [this.strategies(), this.cost(), this.memory()].flatMap(({ figures }) => figures);
  }
}
