import { GalvatronError } from "../base/errors.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import type { ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { type CostModel, costModel, inPipeline } from "./cost-model.js";
import { layerCost } from "./layer-cost.js";
import { type PipelineTime, pipelineTime } from "./pipeline-time.js";
import type { Prediction, StageMemory, StageTime } from "./prediction.js";
import { normMs } from "./shared-gradients.js";
import { type StageCost, type StagePart, stageBytes, stageCost, stageParts } from "./stage-cost.js";

/**
 * Prices any plan.
 *
 * @throws PROFILE_INCOMPLETE when the profile holds nothing about a split that the plan uses
 */
export function predict(
  model: ModelSpec,
  plan: Plan,
  modelProfile: ModelProfile,
  hardware: HardwareProfile,
): Prediction {
  return predictWith(costModel(model, modelProfile, hardware, plan.gradientOrder), plan);
}

/** Prices a plan with a cost model made before, for its order of gradients. */
export function predictWith(cost: CostModel, plan: Plan): Prediction {
  const stages = planStages(cost, plan);
  return prediction(cost, plan, stages, pipelineTime(plan.schedule, plan.microBatches, stages));
}

/** Costs of every stage of a plan. */
export function planStages(model: CostModel, plan: Plan): StageCost[] {
  const cost = inPipeline(model, plan.stageLayers.length, plan.microBatches);
  const parts = stageParts(plan, cost.model.layers);
  const perMicroBatch = plan.globalBatch / plan.microBatches;
  return parts.map((own, stage) =>
    stageCost(
      cost,
      plan,
      stage,
      own.map((part): StagePart => {
        const priced = layerCost(
          cost,
          part.kind,
          part.strategy,
          perMicroBatch / part.strategy.dataDegree,
          plan.microBatches > 1,
        );
        if (!priced) {
          const { tensorDegree, tensorSplit } = part.strategy;
          throw new GalvatronError(
            "PROFILE_INCOMPLETE",
            `Expected the model profile to hold samples of a ${part.kind} layer at tensor degree ${tensorDegree} (${tensorSplit}), but it has none. Profile the model again with that degree, or restrict the plan.`,
            { kind: part.kind, tensorDegree, tensorSplit },
          );
        }
        return { ...part, cost: priced };
      }),
      parts[stage + 1]?.[0],
    ),
  );
}

function stageTime(plan: Plan, stage: StageCost, stepMs: number, norm: number): StageTime {
  const count = plan.microBatches;
  const sum = (term: (part: StagePart, index: number) => number): number =>
    stage.parts.reduce((total, part, index) => total + term(part, index), 0);
  const computeMs = count * sum(({ cost }) => cost.forwardComputeMs + cost.backwardComputeMs);
  const recomputeMs = count * sum(({ cost }) => cost.recomputeMs);
  const tensorMs = count * sum(({ cost }) => cost.forwardTensorMs + cost.backwardTensorMs);
  const dataMs =
    count * sum(({ cost }) => cost.forwardDataMs + cost.backwardDataMs) +
    stage.reduceMs +
    sum(({ cost }) => cost.firstGatherMs);
  const relayoutMs = count * stage.relayoutMs;
  const optimizerMs = norm + sum(({ cost }) => cost.optimizerMs);
  const busyMs = computeMs + recomputeMs + tensorMs + dataMs + relayoutMs + optimizerMs;
  // Transfers run beside computing: what of them is not hidden shows as waiting.
  const waitMs = Math.max(0, stepMs - busyMs);
  const pipelineMs = Math.min(waitMs, stage.sendMs + stage.gradientMs);
  return {
    computeMs,
    recomputeMs,
    tensorMs,
    dataMs,
    relayoutMs,
    pipelineMs,
    optimizerMs,
    bubbleMs: waitMs - pipelineMs,
  };
}

function stageMemory(cost: CostModel, stage: StageCost): StageMemory {
  const sum = (term: (part: StagePart) => number): number =>
    stage.parts.reduce((total, part) => total + term(part), 0);
  const fullest = stage.parts.reduce((a, b) =>
    b.cost.transientBytes + b.cost.workspaceBytes > a.cost.transientBytes + a.cost.workspaceBytes ? b : a,
  );
  const reservedBytes = cost.hardware.reservedBytes;
  return {
    parameterBytes: sum(({ cost: c }) => c.parameterBytes),
    gradientBytes: sum(({ cost: c }) => c.gradientBytes),
    optimizerBytes: sum(({ cost: c }) => c.optimizerBytes),
    activationBytes: stage.inFlight * sum(({ cost: c }) => c.activationBytes),
    transientBytes: fullest.cost.transientBytes,
    workspaceBytes: fullest.cost.workspaceBytes,
    reservedBytes,
    totalBytes: stageBytes(stage) + reservedBytes,
  };
}

function prediction(
  cost: CostModel,
  plan: Plan,
  stages: readonly StageCost[],
  time: PipelineTime,
): Prediction {
  const norm = normMs(cost);
  return {
    stepMs: time.stepMs,
    samplesPerSecond: (plan.globalBatch * 1000) / time.stepMs,
    stages: stages.map((stage) => ({
      time: stageTime(plan, stage, time.stepMs, norm),
      memory: stageMemory(cost, stage),
    })),
  };
}
