// The one door of the package: what a notebook or script may use.
export { type ErrorCode, type ErrorContext, GalvatronError, isGalvatronError } from "./base/errors.js";
export type { DisplayHandle, HostComm, NotebookHost } from "./base/host.js";
export type { MemorySize } from "./base/memory-size.js";
export type { OnProgress, Progress } from "./base/progress.js";
export type { Dtype } from "./base/units.js";
export type { Cluster } from "./cluster/cluster.js";
export type {
  Collective,
  CollectiveSample,
  HardwareProfile,
  MatmulSample,
} from "./cluster/hardware-profile.js";
export type { Prediction, StageMemory, StageTime } from "./cost/prediction.js";
export type { Figure } from "./display/figure.js";
export type { Displayable, MimeBundle } from "./display/mime.js";
export type { ModelOptions } from "./model/model-options.js";
export type { LayerSample, ModelProfile } from "./model/model-profile.js";
export type { LayerKind, ModelSpec } from "./model/model-spec.js";
export type {
  ChoiceControl,
  Control,
  Controls,
  ControlValue,
  ControlValues,
  SliderControl,
  SliderRange,
} from "./notebook/control.js";
export { clearOutput, display, input, type LiveDisplay } from "./notebook/display.js";
export { choice, type Interaction, interact, slider } from "./notebook/interact.js";
export type { GradientOrder, Plan, Precision, Schedule } from "./plan/plan.js";
export type { DataParallel, Placement, Strategy, TensorSplit } from "./plan/strategy.js";
export { type UniformPlanOptions, uniformPlan } from "./plan/uniform.js";
export type { Messages } from "./program/messages.js";
export type { Program } from "./program/program.js";
export type { Evaluation, StepRecord } from "./program/step-record.js";
export type { SpanKind, Timeline, TimelineSpan } from "./program/timeline.js";
export type { BatchPhase, BatchRamp } from "./runtime/batch-ramp.js";
export type { SavedCheckpoint } from "./runtime/coordinator/checkpoint-saver.js";
export {
  type ArrayData,
  arrays,
  columns,
  type DataDescription,
  type ImageFolderData,
  type ImageOptions,
  type IndexedData,
  images,
  indexed,
  jsonl,
  type SampleOptions,
  type SyntheticData,
  synthetic,
  type TextData,
  type TextOptions,
  text,
} from "./runtime/data/data-description.js";
export type { LearningRate, LearningRateSchedule } from "./runtime/learning-rate.js";
export type { Machine } from "./runtime/machine.js";
export type { Optimizer, OptimizerOptions } from "./runtime/optimizer.js";
export type { Explanation } from "./search/explain.js";
export type { BatchRange } from "./search/outer-choice.js";
export type { Candidate, SearchReport } from "./search/search-report.js";
export { BASELINES, type Baseline, baselineSpace, type SpaceOptions } from "./search/space.js";
export type { Change, WhatIf } from "./search/what-if.js";
export {
  type AncestorHandle,
  type AncestorResult,
  readGalvatronPlan,
  writeGalvatronPlan,
} from "./session/ancestor-handle.js";
export type { ClusterHandle } from "./session/cluster-handle.js";
export { compare } from "./session/compare.js";
export type { EvaluationOptions } from "./session/evaluate.js";
export type { ModelHandle, SearchOptions } from "./session/model-handle.js";
export type { PlanHandle } from "./session/plan-handle.js";
export type { Sweep } from "./session/plan-pictures.js";
export type { PricedPhase } from "./session/plan-questions.js";
export type { Run } from "./session/run.js";
export type { RunReport } from "./session/run-report.js";
export {
  type ClusterOptions,
  cluster,
  galvatron3,
  type ModelSource,
  model,
  type PresetOptions,
} from "./session/sdk.js";
export type { Picture } from "./session/show.js";
export type { CheckpointOptions, EvaluateOptions, TrainOptions } from "./session/training-job.js";
export type { ExportSource, WeightsOptions } from "./session/weights.js";
