import { inFlight } from "../cost/pipeline-time.js";
import type { Problem } from "./solve-candidate.js";
import type { Floors } from "./stage-floor.js";

/** Bounds on parts of a division, from the floors of its stages: entry `stage * (layers + 1) + start`. */
export interface RelaxedDivision {
  /** No step is shorter. */
  readonly boundMs: number;
  /** Of the stages from `stage` on, which hold the layers from `start` on: one micro-batch through and back. */
  readonly roundMs: Float64Array;
  /** … and all micro-batches: from the first one's entry to the last one's return. */
  readonly throughMs: Float64Array;
  /** Of the stages before `stage`, which hold the layers before `start`: one micro-batch through and back. */
  readonly beforeMs: Float64Array;
  /** … and the least step time that they alone allow. */
  readonly fullestMs: Float64Array;
}

/**
 * The division of layers when every stage costs only its floor: a bound on the step, and bounds on its parts that
 * tell which lengths a stage may have and how slow it may be. The paths are those of the schedule bound.
 */
export function relaxDivision(problem: Problem, floors: Floors): RelaxedDivision {
  const { outer, kinds, even } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const layers = kinds.length;
  const width = layers + 1;
  const filled = (): Float64Array => new Float64Array((stages + 1) * width).fill(Number.POSITIVE_INFINITY);
  const roundMs = filled();
  const throughMs = filled();
  const endMs = filled();
  const beforeMs = filled();
  const fullestMs = filled();
  roundMs[stages * width + layers] = 0;
  throughMs[stages * width + layers] = 0;
  endMs[stages * width + layers] = 0;
  const first = even || 1;
  for (let stage = stages - 1; stage >= 0; stage--) {
    const most = stage === 0 ? 0 : layers - (stages - stage);
    const w = inFlight(schedule, stage, stages, m);
    const trips = Math.ceil(m / w);
    for (let start = stage; start <= most; start++) {
      const here = stage * width + start;
      const longest = even || layers - start - (stages - 1 - stage);
      for (let count = stage === stages - 1 ? layers - start : first; count <= longest; count++) {
        const next = (stage + 1) * width + start + count;
        if (roundMs[next] === Number.POSITIVE_INFINITY) continue;
        const { forwardMs: f, backwardMs: b, passMs: pass, ledMs: led, rankMs } = floors(stage, start, count);
        if (pass === Number.POSITIVE_INFINITY || rankMs === Number.POSITIVE_INFINITY) continue;
        const round = led + roundMs[next]!;
        let through: number;
        if (schedule === "gpipe") {
          // The slowest machine may be another one forward than backward, so both get their part of the pass.
          through = Math.max(round + (m - 1) * pass, led + throughMs[next]!);
        } else {
          const rest = m - 1 - (trips - 1) * w;
          const more = Math.max(0, m - trips * w);
          through = Math.max(
            m * pass,
            led + throughMs[next]!,
            round + Math.max(0, m - w) * pass + (m - 1 - Math.max(0, m - w)) * Math.max(b, f),
            trips * round + more * pass + (rest - more) * Math.max(b, f),
          );
        }
        roundMs[here] = Math.min(roundMs[here]!, round);
        throughMs[here] = Math.min(throughMs[here]!, through);
        endMs[here] = Math.min(endMs[here]!, Math.max(through, rankMs, f + endMs[next]!));
      }
    }
  }
  beforeMs[0] = 0;
  fullestMs[0] = 0;
  for (let stage = 0; stage < stages - 1; stage++) {
    for (let start = stage; start <= (stage === 0 ? 0 : layers); start++) {
      const here = stage * width + start;
      if (beforeMs[here] === Number.POSITIVE_INFINITY) continue;
      const longest = even || layers - start - (stages - 1 - stage);
      for (let count = first; count <= longest; count++) {
        const next = (stage + 1) * width + start + count;
        const { passMs: pass, ledMs: led, rankMs } = floors(stage, start, count);
        if (pass === Number.POSITIVE_INFINITY || rankMs === Number.POSITIVE_INFINITY) continue;
        beforeMs[next] = Math.min(beforeMs[next]!, beforeMs[here]! + led);
        const alone = Math.max(rankMs, beforeMs[here]! + m * pass);
        fullestMs[next] = Math.min(fullestMs[next]!, Math.max(fullestMs[here]!, alone));
      }
    }
  }
  return { boundMs: endMs[0]!, roundMs, throughMs, beforeMs, fullestMs };
}
