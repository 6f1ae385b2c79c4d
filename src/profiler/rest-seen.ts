import type { RestSample } from "../model/model-profile.js";
import { endOf, startOf } from "./measure-steps.js";
import { type LayerTimes, type RanProgram, runsMs } from "./overlap-seen.js";

/**
 * How much faster the layers of each rank were than alone, by the share of the step in which the rank computed: the mean over
 * steps. Ranks without such layers are left out.
 */
export function restSeen(
  { programs, steps }: RanProgram,
  inKind: (layer: number) => boolean,
  alone: LayerTimes,
): readonly RestSample[] {
  return programs.flatMap((program, rank): RestSample[] => {
    const passes = (phase: "forward" | "backward"): number =>
      new Set(
        program.instructions.flatMap(({ op, label }) =>
          op === "run" && label.phase === phase && label.layer !== undefined && inKind(label.layer)
            ? [`${label.layer} ${label.microBatch}`]
            : [],
        ),
      ).size;
    const aloneMs = passes("forward") * alone.forwardMs + passes("backward") * alone.backwardMs;
    if (!(aloneMs > 0)) return [];
    let tookMs = 0;
    let workedMs = 0;
    let stepsMs = 0;
    for (const ranks of steps) {
      const step = ranks[rank]!;
      tookMs += runsMs(program, step, inKind, "forward") + runsMs(program, step, inKind, "backward");
      stepsMs += lastEnd(step.instructionsMs);
      for (const [index, { op }] of program.instructions.entries())
        if (op === "run") workedMs += endOf(step, index) - startOf(step, index);
    }
    if (!(tookMs > 0) || !(stepsMs > 0)) return [];
    return [{ workShare: workedMs / stepsMs, timeFactor: tookMs / steps.length / aloneMs }];
  });
}

const lastEnd = (times: Float64Array): number => times.reduce((most, ms) => Math.max(most, ms), 0);

/** Samples whose shares of work differ by less say the same. */
const SHARE_STEP = 0.15;

/** One sample for each stretch of work shares, ascending; who works more is not faster, and nobody slower than alone. */
export function restCurve(samples: readonly RestSample[]): readonly RestSample[] {
  const bins = new Map<number, RestSample[]>();
  for (const sample of samples) {
    const bin = Math.floor(sample.workShare / SHARE_STEP);
    bins.set(bin, [...(bins.get(bin) ?? []), sample]);
  }
  const mean = (list: readonly RestSample[], of: (one: RestSample) => number): number =>
    list.reduce((sum, one) => sum + of(one), 0) / list.length;
  let least = 0;
  return [...bins.entries()]
    .sort(([a], [b]) => a - b)
    .map(([, list]) => {
      least = Math.min(
        1,
        Math.max(
          least,
          mean(list, (one) => one.timeFactor),
        ),
      );
      return { workShare: mean(list, (one) => one.workShare), timeFactor: least };
    });
}
