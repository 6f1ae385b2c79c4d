import type { Table } from "apache-arrow";
import { GalvatronError, isGalvatronError } from "../base/errors.js";
import { type DisplayHandle, notebookHost } from "../base/host.js";
import { memoryText } from "../base/memory-size.js";
import { accuracyFigure } from "../display/accuracy-figure.js";
import { chromeTrace } from "../display/chrome-trace.js";
import { memoryFigure } from "../display/memory-figure.js";
import type { MimeBundle } from "../display/mime.js";
import { timelineFigure } from "../display/timeline-figure.js";
import { type TrainingExpectation, trainingFigure } from "../display/training-figure.js";
import type { Evaluation, StepRecord } from "../program/step-record.js";
import type { Timeline } from "../program/timeline.js";
import type { SavedCheckpoint } from "../runtime/coordinator/checkpoint-saver.js";
import type { OnStep, Training } from "../runtime/coordinator/train.js";
import type { PlanHandle } from "./plan-handle.js";
import { budgetOf } from "./plan-pictures.js";
import { REDRAW_MS } from "./reporter.js";
import { type RunReport, runReport } from "./run-report.js";
import { runTable } from "./run-table.js";
import { figuresBundle, Picture, Shown } from "./show.js";
import type { WeightsOptions } from "./weights.js";
import { writeTextFile } from "./write-text-file.js";

/** Starts the training of a run; called once. */
export type StartTraining = (onStep: OnStep) => Training;

/**
 * A training under way: a handle, no promise. It draws itself while it trains and does not block the kernel.
 * Iterating gives one record per step (rank 0's: loss and tokens per second are those of all ranks).
 */
export class Run extends Shown implements AsyncIterable<StepRecord> {
  /** Settles when the training ends: finished, stopped, or with the error that ended it. */
  readonly done: Promise<RunReport>;
  /** What it trains under. */
  readonly plan: PlanHandle;
  /** Steps it was asked for. */
  readonly steps: number;
  private readonly saves: boolean;
  private readonly expected: TrainingExpectation;
  private readonly training: Training;
  private readonly all: StepRecord[] = [];
  private readonly evaluated: Evaluation[] = [];
  private readonly waiting: (() => void)[] = [];
  private state: "running" | "paused" | "finished" | "stopped" | "failed" = "running";
  private error: unknown = null;
  private measured: Timeline | null = null;
  private picture: DisplayHandle | null = null;
  private drawnAt = 0;
  private redraw: NodeJS.Timeout | null = null;

  /** @internal */
  constructor(plan: PlanHandle, steps: number, saves: boolean, start: StartTraining) {
    super();
    this.plan = plan;
    this.steps = steps;
    this.saves = saves;
    this.expected = plan.expectation(steps);
    this.training = start((records, timeline, evaluation) => this.hear(records, timeline, evaluation));
    const host = notebookHost();
    this.picture = host?.display(this.figure()) ?? null;
    const forget = host?.onInterrupt(() => this.stop({ checkpoint: saves }));
    this.done = this.training.done.then(
      (report) => {
        this.end(report.outcome);
        return runReport(plan, this.all, this.evaluated, report.outcome);
      },
      (error: unknown) => {
        this.error = error;
        this.end("failed");
        throw error;
      },
    );
    // Who awaits `done` hears the error; who does not sees it in the picture.
    this.done.catch(() => {}).finally(() => forget?.());
  }

  /** Every rank's record of every step so far. */
  get records(): readonly StepRecord[] {
    return this.all;
  }

  /** What it made of samples that it does not train on, whenever it was asked. */
  get evaluations(): readonly Evaluation[] {
    return this.evaluated;
  }

  /** "running", "paused", "finished", "stopped" or "failed". */
  get status(): string {
    return this.state;
  }

  /** Processes of the ranks, by rank; empty until they are started. */
  get pids(): readonly number[] {
    return this.training.pids();
  }

  /** What was saved so far, oldest first; with `checkpoint.keep` the older ones are gone again. */
  get checkpoints(): readonly SavedCheckpoint[] {
    return this.training.checkpoints();
  }

  /**
   * Ends the run after the steps under way; `done` then resolves with what there is.
   *
   * @param options - `checkpoint: true` saves before it ends, so that it can be resumed
   * @throws GalvatronError ARGUMENT_INVALID when the run has no folder to save in
   */
  stop(options: { readonly checkpoint?: boolean } = {}): void {
    if (options.checkpoint && !this.saves)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        'This run has no folder for checkpoints. Train with { checkpoint: { folder: "…" } } to save when it stops.',
      );
    this.training.stop(options.checkpoint);
  }

  /**
   * Writes the weights of the newest checkpoint for Hugging Face, when the run has ended. `train({ export })` needs no
   * checkpoint.
   *
   * @throws GalvatronError ARGUMENT_INVALID when the run saved no checkpoint, FILE_UNWRITABLE
   */
  async export(to: string | WeightsOptions): Promise<void> {
    await this.done;
    const newest = this.checkpoints.at(-1);
    if (!newest)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        'The workers of this run are gone, and it saved no checkpoint. Train with { export: "folder" }, or with { checkpoint: … }.',
      );
    await this.plan.export(to, { checkpoint: newest.path });
  }

  /** Starts no further step until {@link resume}. */
  pause(): void {
    if (this.state !== "running") return;
    this.state = "paused";
    this.training.pause();
    this.draw();
  }

  /** Goes on after {@link pause}. */
  resume(): void {
    if (this.state !== "paused") return;
    this.state = "running";
    this.training.resume();
  }

  /** One row per rank and step: loss, step time, tokens per second, memory. */
  table(): Table {
    return runTable(this.all);
  }

  /** A measured step under the predicted one: the same instructions, span by span. */
  timeline(): Picture {
    return new Picture("", [timelineFigure(this.timelines())]);
  }

  private timelines(): readonly Timeline[] {
    return [this.plan.predictedTimeline(), ...(this.measured ? [this.measured] : [])];
  }

  /**
   * Writes the predicted step and the last measured one for Perfetto (ui.perfetto.dev) or chrome://tracing.
   * @throws GalvatronError FILE_UNWRITABLE
   */
  saveTrace(path: string): void {
    writeTextFile(path, "the trace", JSON.stringify(chromeTrace(...this.timelines())));
  }

  /** The measured timeline of the last step, as data. */
  get lastStep(): Timeline | null {
    return this.measured;
  }

  /** Predicted beside measured: step time and each rank's memory. */
  accuracy(): Picture {
    const outcome = this.state === "finished" ? "finished" : "stopped";
    const report = runReport(this.plan, this.all, this.evaluated, outcome);
    const predicted = this.plan.memoryBytesByRank();
    return new Picture(report.text, [
      accuracyFigure("Step time: predicted and measured", "ms", [
        { name: "step", predicted: this.plan.prediction.stepMs, measured: report.stepMs },
      ]),
      accuracyFigure(
        "Memory of a rank: predicted and as the operating system counts it",
        "MB",
        report.peakMemoryBytes.map((bytes, rank) => ({
          name: `rank ${rank}`,
          predicted: predicted[rank]! / 2 ** 20,
          measured: bytes / 2 ** 20,
        })),
      ),
      memoryFigure(this.plan.prediction, budgetOf(this.plan.report), report.peakByStage),
    ]);
  }

  /** One record per step, rank 0's, from the first step on; ends with the run, or throws what ended it. */
  async *[Symbol.asyncIterator](): AsyncIterator<StepRecord> {
    // Records come step by step, rank 0 first.
    const { ranks } = this.plan.data;
    let next = 0;
    for (;;) {
      for (; next < this.all.length; next += ranks) yield this.all[next]!;
      if (this.state === "failed") throw this.error;
      if (this.state === "finished" || this.state === "stopped") return;
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  override bundle(): MimeBundle {
    // Under our kernel the run already draws itself where it was made.
    if (this.picture) return this.all.length === 0 ? {} : { "text/plain": this.line() };
    return this.figure();
  }

  override toString(): string {
    return this.line();
  }

  private hear(records: readonly StepRecord[], timeline: Timeline, evaluation: Evaluation | null): void {
    this.all.push(...records);
    if (evaluation) this.evaluated.push(evaluation);
    this.measured = timeline;
    this.wake();
    this.draw();
  }

  private end(state: "finished" | "stopped" | "failed"): void {
    this.state = state;
    this.wake();
    this.draw(true);
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private draw(now = false): void {
    if (!this.picture) return;
    const wait = this.drawnAt + REDRAW_MS - performance.now();
    if (now || wait <= 0) {
      if (this.redraw) clearTimeout(this.redraw);
      this.redraw = null;
      this.drawnAt = performance.now();
      this.picture.update(this.figure());
    } else if (!this.redraw) {
      this.redraw = setTimeout(() => this.draw(true), wait);
      this.redraw.unref();
    }
  }

  private figure(): MimeBundle {
    return figuresBundle(this.error ? this.line() : "", [
      trainingFigure(this.all, {
        ...this.expected,
        title: this.state === "running" ? "Training" : `Training (${this.state})`,
      }),
    ]);
  }

  private line(): string {
    if (this.state === "failed") {
      const said = this.error instanceof Error ? this.error.message : String(this.error);
      return `Run failed${isGalvatronError(this.error) ? ` (${this.error.code})` : ""}: ${said}`;
    }
    const last = this.all.at(-1);
    const saved = this.checkpoints.at(-1);
    const kept = saved ? `, saved at step ${saved.step}` : "";
    return last
      ? `Run ${this.state}: step ${last.step + 1} of ${this.steps}, loss ${last.loss.toFixed(4)}, ${Math.round(last.tokensPerSecond)} tokens/s, ${memoryText(last.memoryBytes)} a rank${kept}`
      : `Run ${this.state}: starting`;
  }
}
