import type { Schedule } from "../plan/plan.js";

/** What one stage contributes to the schedule, in ms. */
export interface StageWork {
  /** One micro-batch forward, and backward. */
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** What backward does before it reads the gradient from the next stage: the recompute of the stage's last layer. */
  readonly leadMs: number;
  /** Moving one micro-batch's activations to the next stage; its gradient comes back in `gradientMs`. 0 on the last stage. */
  readonly sendMs: number;
  readonly gradientMs: number;
  /** After its last backward: gradient reductions that nothing hides. On the first stage also gathers before its first forward. */
  readonly reduceMs: number;
  /**
   * After every stage has reduced, since the norm is over all of them: the norm and update. Besides, what nothing hides of
   * gathers before the first forward.
   */
  readonly afterMs: number;
}

/** When one step ends, and when each stage was last busy before the common norm. */
export interface PipelineTime {
  readonly stepMs: number;
  /** End of each stage's last backward. */
  readonly backwardEndMs: readonly number[];
}

/** Micro-batches whose activations a stage holds at its peak. */
export function inFlight(schedule: Schedule, stage: number, stages: number, microBatches: number): number {
  if (schedule === "gpipe") return microBatches;
  return Math.min(stages - stage, microBatches);
}

/**
 * The order in which a stage works off its micro-batches: index k ≥ 0 stands for forward k, −1 − k for backward k.
 * GPipe: Huang et al. 2019; 1F1B with flush: Narayanan et al. 2021, figure 4.
 */
export function stageOrder(
  schedule: Schedule,
  stage: number,
  stages: number,
  microBatches: number,
): number[] {
  const order: number[] = [];
  const warmUp = inFlight(schedule, stage, stages, microBatches);
  for (let k = 0; k < warmUp; k++) order.push(k);
  for (let k = 0; k < microBatches; k++) {
    order.push(-1 - k);
    if (warmUp + k < microBatches) order.push(warmUp + k);
  }
  return order;
}

/**
 * The exact recurrence of a schedule: every pass starts when its stage is free and its input has arrived. Transfers
 * run on their own streams, one after another per link and direction.
 *
 * A backward may begin before its gradient is there, as far as its lead goes.
 *
 * forwardEnd(s, k) = max(free(s), arrival(s, k)) + f(s), arrival(s + 1, k) = max(arrival(s + 1, k − 1), forwardEnd(s, k)) + send(s),
 * and the same for backward in the other direction.
 */
export function pipelineTime(
  schedule: Schedule,
  microBatches: number,
  stages: readonly StageWork[],
): PipelineTime {
  const count = stages.length;
  let reducedMs = 0;
  let afterMs = 0;
  const backwardEndMs = new Array<number>(count).fill(0);
  if (count === 1) {
    const only = stages[0]!;
    const end = microBatches * (only.forwardMs + only.backwardMs);
    backwardEndMs[0] = end;
    return { stepMs: end + only.reduceMs + only.afterMs, backwardEndMs };
  }
  const free = new Float64Array(count);
  const forwardDone = new Int32Array(count);
  const backwardDone = new Int32Array(count);
  // When the activation of each micro-batch (and its gradient) reaches a stage; the last one of each link and way.
  const arrival = Array.from({ length: count }, () => new Float64Array(microBatches));
  const gradient = Array.from({ length: count }, () => new Float64Array(microBatches));
  const linkForward = new Float64Array(count);
  const linkBackward = new Float64Array(count);
  const warmUp = stages.map((_, stage) => inFlight(schedule, stage, count, microBatches));
  let left = 2 * count * microBatches;
  // Stages wait for each other only through arrivals: sweep until all is done. A sweep moves every stage on as far
  // as it can, forwards first down the pipeline, then backwards up, so that few sweeps are needed.
  const advance = (stage: number): void => {
    for (;;) {
      const done = forwardDone[stage]!;
      const back = backwardDone[stage]!;
      const wantsForward = done < microBatches && done - back < warmUp[stage]!;
      const forwardNext = wantsForward && (back === 0 || done < warmUp[stage]! + back);
      if (forwardNext) {
        if (stage > 0 && forwardDone[stage - 1]! <= done) return;
        const end = Math.max(free[stage]!, stage > 0 ? arrival[stage]![done]! : 0) + stages[stage]!.forwardMs;
        free[stage] = end;
        forwardDone[stage] = done + 1;
        if (stage + 1 < count) {
          const reached = Math.max(linkForward[stage]!, end) + stages[stage]!.sendMs;
          linkForward[stage] = reached;
          arrival[stage + 1]![done] = reached;
        }
      } else {
        if (back === microBatches) return;
        if (stage + 1 < count && backwardDone[stage + 1]! <= back) return;
        if (forwardDone[stage]! <= back) return;
        const { backwardMs, leadMs } = stages[stage]!;
        const ready = stage + 1 < count ? gradient[stage]![back]! - leadMs : 0;
        const end = Math.max(free[stage]!, ready) + backwardMs;
        free[stage] = end;
        backwardDone[stage] = back + 1;
        if (stage > 0) {
          const reached = Math.max(linkBackward[stage - 1]!, end) + stages[stage - 1]!.gradientMs;
          linkBackward[stage - 1] = reached;
          gradient[stage - 1]![back] = reached;
        }
      }
      left -= 1;
    }
  };
  while (left > 0) {
    for (let stage = 0; stage < count; stage++) advance(stage);
    for (let stage = count - 1; stage >= 0; stage--) advance(stage);
  }
  for (let stage = 0; stage < count; stage++) {
    backwardEndMs[stage] = free[stage]!;
    reducedMs = Math.max(reducedMs, free[stage]! + stages[stage]!.reduceMs);
    afterMs = Math.max(afterMs, stages[stage]!.afterMs);
  }
  return { stepMs: reducedMs + afterMs, backwardEndMs };
}
