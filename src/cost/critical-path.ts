import type { Schedule } from "../plan/plan.js";
import { inFlight, type StageWork } from "./pipeline-time.js";

/** How often the longest path through a step passes each stage and link, and where it ends. */
export interface CriticalPath {
  readonly forwards: Float64Array;
  readonly backwards: Float64Array;
  readonly sends: Float64Array;
  readonly gradients: Float64Array;
  /** Backwards that the path enters with a gradient: their lead was done before. */
  readonly leads: Float64Array;
  /** Stage whose gradient reduction ends last. */
  readonly end: number;
}

/** The longest path through a schedule: the same recurrence as `pipelineTime`, walked back from its end. */
export function criticalPath(
  schedule: Schedule,
  microBatches: number,
  stages: readonly StageWork[],
): CriticalPath {
  const count = stages.length;
  const width = microBatches;
  const forwardEnd = new Float64Array(count * width);
  const backwardEnd = new Float64Array(count * width);
  const arrival = new Float64Array(count * width);
  const returned = new Float64Array(count * width);
  // Micro-batches of one pass end in order, so a pass may be computed once everything it needs is there: forwards
  // of micro-batch k need backwards of k − w on the same stage only.
  const warmUp = stages.map((_, stage) => inFlight(schedule, stage, count, microBatches));
  const doneForward = new Int32Array(count);
  const doneBackward = new Int32Array(count);
  const freeBeforeForward = (s: number, k: number): number => {
    const w = warmUp[s]!;
    if (k >= w) return backwardEnd[s * width + k - w]!;
    return k > 0 ? forwardEnd[s * width + k - 1]! : 0;
  };
  const freeBeforeBackward = (s: number, k: number): number => {
    const w = warmUp[s]!;
    const forward = k + w - 1;
    return forward < width ? forwardEnd[s * width + forward]! : backwardEnd[s * width + k - 1]!;
  };
  let left = 2 * count * width;
  while (left > 0) {
    for (let s = 0; s < count; s++) {
      while (doneForward[s]! < width) {
        const k = doneForward[s]!;
        if (k >= warmUp[s]! && doneBackward[s]! <= k - warmUp[s]!) break;
        if (s > 0 && doneForward[s - 1]! <= k) break;
        const at = s * width + k;
        const end = Math.max(freeBeforeForward(s, k), s > 0 ? arrival[at]! : 0) + stages[s]!.forwardMs;
        forwardEnd[at] = end;
        if (s + 1 < count) {
          const before = k > 0 ? arrival[at + width - 1]! : 0;
          arrival[at + width] = Math.max(before, end) + stages[s]!.sendMs;
        }
        doneForward[s] = k + 1;
        left--;
      }
    }
    for (let s = count - 1; s >= 0; s--) {
      while (doneBackward[s]! < width) {
        const k = doneBackward[s]!;
        if (doneForward[s]! < Math.min(width, k + warmUp[s]!)) break;
        if (s + 1 < count && doneBackward[s + 1]! <= k) break;
        const at = s * width + k;
        const end =
          Math.max(freeBeforeBackward(s, k), s + 1 < count ? returned[at]! - stages[s]!.leadMs : 0) +
          stages[s]!.backwardMs;
        backwardEnd[at] = end;
        if (s > 0) {
          const before = k > 0 ? returned[at - width - 1]! : 0;
          returned[at - width] = Math.max(before, end) + stages[s - 1]!.gradientMs;
        }
        doneBackward[s] = k + 1;
        left--;
      }
    }
  }
  let end = 0;
  const last = (s: number): number => backwardEnd[s * width + width - 1]! + stages[s]!.reduceMs;
  for (let s = 1; s < count; s++) if (last(s) > last(end)) end = s;
  const forwards = new Float64Array(count);
  const backwards = new Float64Array(count);
  const sends = new Float64Array(count);
  const gradients = new Float64Array(count);
  const leads = new Float64Array(count);
  let s = end;
  let k = width - 1;
  let forward = false;
  for (;;) {
    const at = s * width + k;
    if (forward) {
      forwards[s]!++;
      const free = freeBeforeForward(s, k);
      if (s > 0 && arrival[at]! >= free) {
        // Back over the link, along its queue, to the forward that fed it.
        while (k > 0 && arrival[s * width + k - 1]! > forwardEnd[(s - 1) * width + k]!) {
          sends[s - 1]!++;
          k--;
        }
        sends[s - 1]!++;
        s--;
      } else if (k >= warmUp[s]!) {
        k -= warmUp[s]!;
        forward = false;
      } else if (k > 0) k--;
      else break;
    } else {
      backwards[s]!++;
      const free = freeBeforeBackward(s, k);
      if (s + 1 < count && returned[at]! - stages[s]!.leadMs >= free) {
        leads[s]!++;
        while (k > 0 && returned[s * width + k - 1]! > backwardEnd[(s + 1) * width + k]!) {
          gradients[s]!++;
          k--;
        }
        gradients[s]!++;
        s++;
      } else if (k + warmUp[s]! - 1 < width) {
        k += warmUp[s]! - 1;
        forward = true;
      } else k--;
    }
  }
  return { forwards, backwards, sends, gradients, leads, end };
}
