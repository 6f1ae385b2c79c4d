import { inFlight } from "../cost/pipeline-time.js";
import type { Schedule } from "../plan/plan.js";
import type { StageOption } from "./stage-option.js";
import { criticalWeights, type Weights, weighted } from "./stage-table.js";

/**
 * One path through the schedule's dependencies: how often it passes each stage's forward and backward and each link,
 * and at which stage's reduction it ends. No plan's step is shorter than what any path adds up to.
 */
export interface SchedulePath {
  readonly forwards: Float64Array;
  readonly backwards: Float64Array;
  readonly sends: Float64Array;
  readonly gradients: Float64Array;
  readonly leads: Float64Array;
  readonly end: number;
  /** Shares of the stages' updates that follow the norm, where they are meant: 1 together. */
  readonly after?: Float64Array;
}

/**
 * One micro-batch through all stages and back while a stage works off the others, and the update of that stage: these
 * paths, one for each stage, weighed by shares that are 1 together. A step counts only the longest update; this
 * path knows of all.
 */
export function sharedPath(schedule: Schedule, m: number, shares: readonly number[]): SchedulePath {
  const stages = shares.length;
  const each = (value: (share: number, stage: number) => number): Float64Array =>
    Float64Array.from(shares, value);
  const held = (stage: number): number => (schedule === "gpipe" ? 1 : inFlight(schedule, stage, stages, m));
  const borders = each((_, stage) => (stage === stages - 1 ? 0 : 1));
  return {
    forwards: each((share, stage) => 1 + share * (m - held(stage))),
    backwards: each((share) => 1 + share * (m - 1)),
    sends: borders,
    gradients: borders,
    leads: borders,
    end: 0,
    after: each((share) => share),
  };
}

/** What a stage adds to a path, leads apart. */
export const pathWeights = (path: SchedulePath, stage: number): Weights => ({
  forward: path.forwards[stage]!,
  backward: path.backwards[stage]!,
  reduce: path.end === stage ? 1 : 0,
  after: path.after?.[stage] ?? 0,
});

/** The length of each path from a stage on. */
function foldPaths(
  paths: readonly SchedulePath[],
  base: number,
  stage: number,
  option: StageOption,
  send: number,
  gradient: number,
  next: SuffixTimes | null,
  out: SuffixTimes,
): void {
  for (let k = 0; k < paths.length; k++) {
    const path = paths[k]!;
    out[base + k] =
      weighted(pathWeights(path, stage), option) +
      path.sends[stage]! * send +
      path.gradients[stage]! * gradient -
      path.leads[stage]! * option.leadMs +
      (next ? next[base + k]! : 0);
  }
}

/** What is known of the stages from some stage to the last; everything grows with every stage's times. */
export type SuffixTimes = Float64Array;

const ROUND = 0;
const THROUGH = 1;
const END = 2;
const AFTER = 3;
const BASE_1F1B = 4;

const FORWARD_SUM = 0;
const FORWARD_MAX = 1;
const BACKWARD_SUM = 2;
const BACKWARD_MAX = 3;
const DRAIN = 4;
const GPIPE_AFTER = 5;
const BASE_GPIPE = 6;

/**
 * 1F1B. Kept of a suffix that starts at stage s: the round trip of one micro-batch; the longest of a family of paths
 * that enter s with the first micro-batch and leave it with the last one's gradient; the longest that end in any
 * reduction; the longest of what follows the norm. The family, w = micro-batches in flight at s, m in all:
 * - stay: m (f + b);
 * - one round trip, then stay: round + (m − 1) b + (m − w) f, and the same mirrored in time;
 * - i round trips, some before and some after staying: i · round + (m − 1 − (i − 1) w) (f + b);
 * - stay on the link of the activations, or of the gradients;
 * - go on to s + 1 and take any path there.
 */
function fold1F1B(
  stage: number,
  stages: number,
  m: number,
  option: StageOption,
  send: number,
  gradient: number,
  next: SuffixTimes | null,
  out: SuffixTimes,
): void {
  const { forwardMs: f, backwardMs: b } = option;
  const w = inFlight("1f1b", stage, stages, m);
  const below = next ? send + next[ROUND]! + gradient : 0;
  // A path that enters a backward with its gradient finds the lead done.
  const { leadMs } = option;
  const round = f + b + below - (next ? leadMs : 0);
  let through = m * (f + b);
  const trips = (i: number): void => {
    const rest = Math.max(0, m - 1 - (i - 1) * w);
    const more = i > 1 ? rest : Math.max(0, m - w);
    through = Math.max(through, i * round + rest * b + more * f, i * round + rest * f + more * b);
  };
  trips(1);
  const most = Math.ceil(m / w);
  if (most > 1) trips(most);
  if (most > 2) trips(2);
  if (next) {
    through = Math.max(
      through,
      f + send + next[THROUGH]! + gradient + b - leadMs,
      round + (m - 1) * send,
      round + (m - 1) * gradient,
    );
  }
  out[ROUND] = round;
  out[THROUGH] = through;
  out[END] = Math.max(through + option.reduceMs, next ? f + send + next[END]! : 0);
  out[AFTER] = Math.max(option.afterMs, next ? next[AFTER]! : 0);
}

/**
 * GPipe is two flow shops of equal jobs, one forward, one backward, with the links as machines of their own: exact.
 * Backward, a job that enters a stage finds the lead done; the ones behind it in the queue do not.
 * The end of the last job on machine j is Σ_{i ≤ j} t_i + (m − 1) max_{i ≤ j} t_i.
 */
function foldGpipe(
  m: number,
  option: StageOption,
  send: number,
  gradient: number,
  next: SuffixTimes | null,
  out: SuffixTimes,
): void {
  const { forwardMs: f, backwardMs: b } = option;
  out[FORWARD_SUM] = f + (next ? send + next[FORWARD_SUM]! : 0);
  out[FORWARD_MAX] = Math.max(f, next ? Math.max(send, next[FORWARD_MAX]!) : 0);
  out[BACKWARD_SUM] = b + (next ? gradient + next[BACKWARD_SUM]! - option.leadMs : 0);
  out[BACKWARD_MAX] = Math.max(b, next ? Math.max(gradient, next[BACKWARD_MAX]!) : 0);
  out[DRAIN] = Math.max(
    out[BACKWARD_SUM]! + (m - 1) * out[BACKWARD_MAX]! + option.reduceMs,
    next ? next[DRAIN]! : 0,
  );
  out[GPIPE_AFTER] = Math.max(option.afterMs, next ? next[GPIPE_AFTER]! : 0);
}

/** What is kept of suffixes, and what it says of the step. */
export interface StepBound {
  /** Puts a stage in front of a suffix. */
  readonly fold: (
    stage: number,
    option: StageOption,
    send: number,
    gradient: number,
    next: SuffixTimes | null,
  ) => SuffixTimes;
  /** No step with these stages at its end is shorter, when `forward` and `backward` more must come before them. */
  readonly bound: (times: SuffixTimes, forward: number, backward: number) => number;
}

/** Everything that is known of a schedule, and the paths that were learnt. */
export function scheduleBound(
  schedule: Schedule,
  stages: number,
  m: number,
  paths: readonly SchedulePath[],
): StepBound {
  const base = schedule === "gpipe" ? BASE_GPIPE : BASE_1F1B;
  return {
    fold: (stage, option, send, gradient, next) => {
      const out = new Float64Array(base + paths.length);
      if (schedule === "gpipe") foldGpipe(m, option, send, gradient, next, out);
      else fold1F1B(stage, stages, m, option, send, gradient, next, out);
      foldPaths(paths, base, stage, option, send, gradient, next, out);
      return out;
    },
    bound: (times, forward, backward) => {
      let bound: number;
      let after: number;
      if (schedule === "gpipe") {
        after = times[GPIPE_AFTER]!;
        const drain = Math.max(
          times[DRAIN]!,
          times[BACKWARD_SUM]! + backward + (m - 1) * times[BACKWARD_MAX]!,
        );
        bound = times[FORWARD_SUM]! + forward + (m - 1) * times[FORWARD_MAX]! + drain;
      } else {
        after = times[AFTER]!;
        bound = Math.max(times[THROUGH]! + forward + backward, times[END]! + forward);
      }
      for (let k = base; k < times.length; k++) bound = Math.max(bound, times[k]!);
      return bound + after;
    },
  };
}

/**
 * Paths of 1F1B that go round k ≥ 2 times, some of them at the beginning, some at the end, and stay in between. With w
 * micro-batches in flight a round trip stands for w of them, so k round + (m − 1 − (k − 1) w) pass, which is most for
 * k = 2 or for k = ⌈m / w⌉; the latter is said without its step in m, so that both are α + β m.
 */
export function roundTrips(m: number, held: number, roundMs: number, passMs: number): number {
  if (m <= held) return 0;
  return Math.max(
    2 * roundMs + (m - 1 - held) * passMs,
    (m / held) * roundMs + (held - 1) * Math.min(passMs, roundMs / held),
  );
}

/**
 * A schedule by two costs of a stage alone, its critical time and one micro-batch, and by paths that were learnt. The paths
 * are those that visit the stages below once, while some stage works off all the others, and those that go round and round.
 */
export function criticalBound(
  schedule: Schedule,
  stages: number,
  m: number,
  paths: readonly SchedulePath[],
): StepBound {
  return {
    fold: (stage, option, send, gradient, next) => {
      const out = new Float64Array(AFTER + paths.length);
      const held = schedule === "gpipe" ? 1 : inFlight(schedule, stage, stages, m);
      const weights = criticalWeights(m, held);
      const link = next ? send + gradient : 0;
      const pass = option.forwardMs + option.backwardMs;
      const led = pass - (next ? option.leadMs : 0);
      const critical = weighted(weights, option) - (next ? option.leadMs : 0);
      const round = led + link + (next ? next[ROUND]! : 0);
      out[ROUND] = round;
      out[THROUGH] = Math.max(m * pass, critical + round - led, next ? led + link + next[THROUGH]! : 0);
      if (schedule === "1f1b") out[THROUGH] = Math.max(out[THROUGH], roundTrips(m, held, round, pass));
      out[END] = Math.max(out[THROUGH] + option.reduceMs, next ? send + next[END]! : 0);
      foldPaths(paths, AFTER, stage, option, send, gradient, next, out);
      return out;
    },
    bound: (times, forward, backward) => {
      let bound = Math.max(times[THROUGH]! + forward + backward, times[END]! + forward);
      for (let k = AFTER; k < times.length; k++) bound = Math.max(bound, times[k]!);
      return bound;
    },
  };
}

/** Whether one suffix is nowhere worse than another. */
export function noWorse(a: SuffixTimes, b: SuffixTimes): boolean {
  for (let i = 0; i < a.length; i++) if (a[i]! > b[i]!) return false;
  return true;
}
