import { noWorse, type StepBound, type SuffixTimes } from "./schedule-bound.js";
import type { StageOption } from "./stage-option.js";

/** Filled stages from some stage to the last. */
export interface Suffix {
  /** First layer that it holds. */
  readonly start: number;
  readonly option: StageOption;
  /** One micro-batch to the next stage, and its gradient back. */
  readonly sendMs: number;
  readonly gradientMs: number;
  readonly times: SuffixTimes;
  /** No step with these stages is shorter. */
  readonly boundMs: number;
  readonly next: Suffix | null;
}

export interface DivisionQuery {
  readonly layers: number;
  readonly stages: number;
  readonly microBatches: number;
  /** Ways to fill a stage from a layer on. */
  readonly options: (stage: number, start: number) => readonly StageOption[];
  /** One way in front of a layer, from layout to layout. */
  readonly transfer: (layer: number, from: number, to: number) => number;
  /** Least time of the layers before `start`, one micro-batch forward and backward. */
  readonly forwardBefore: (start: number) => number;
  readonly backwardBefore: (start: number) => number;
  readonly step: StepBound;
  /** Only steps of at most this count. */
  readonly limitMs: number;
}

function frontier(list: Suffix[]): Suffix[] {
  if (list.length <= 1) return list;
  list.sort((a, b) => a.boundMs - b.boundMs || a.option.layers - b.option.layers);
  const kept: Suffix[] = [];
  next: for (const suffix of list) {
    for (const other of kept) if (noWorse(other.times, suffix.times)) continue next;
    kept.push(suffix);
  }
  return kept;
}

/**
 * Divides layers over stages, from the last stage to the first. Of suffixes with the same start and the same layout
 * in front, only the frontier of their times is kept, and only while their bound is within the limit.
 *
 * @returns complete divisions, best bound first
 */
export function divide(query: DivisionQuery): Suffix[] {
  const { layers, stages, microBatches: m, step, limitMs } = query;
  let suffixes = new Map<number, Suffix[]>();
  for (let stage = stages - 1; stage >= 0; stage--) {
    const found = new Map<number, Suffix[]>();
    const most = stage === 0 ? 0 : layers - (stages - stage);
    for (let start = stage; start <= most; start++) {
      const forward = query.forwardBefore(start);
      const backward = query.backwardBefore(start);
      // The layers before must fit into their stages: the fullest of them has at least the average.
      if (stage > 0 && ((m - 1) * (forward + backward)) / stage > limitMs) break;
      const byFirst = new Map<number, Suffix[]>();
      for (const option of query.options(stage, start)) {
        const end = start + option.layers;
        const nexts: readonly (Suffix | null)[] =
          stage === stages - 1 ? (end === layers ? [null] : []) : (suffixes.get(end) ?? []);
        for (const next of nexts) {
          const send = next ? query.transfer(end, option.last, next.option.first) : 0;
          const back = next ? query.transfer(end, next.option.first, option.last) : 0;
          const times = step.fold(stage, option, send, back, next ? next.times : null);
          const boundMs = step.bound(times, forward, backward);
          if (boundMs > limitMs) continue;
          const suffix: Suffix = { start, option, sendMs: send, gradientMs: back, times, boundMs, next };
          const list = byFirst.get(option.first);
          if (list) list.push(suffix);
          else byFirst.set(option.first, [suffix]);
        }
      }
      const kept: Suffix[] = [];
      for (const list of byFirst.values()) kept.push(...frontier(list));
      if (kept.length > 0) found.set(start, kept);
    }
    suffixes = found;
  }
  return (suffixes.get(0) ?? []).sort((a, b) => a.boundMs - b.boundMs);
}

/** The stages of a suffix, in order. */
export function suffixStages(suffix: Suffix): Suffix[] {
  const result: Suffix[] = [];
  for (let at: Suffix | null = suffix; at; at = at.next) result.push(at);
  return result;
}
