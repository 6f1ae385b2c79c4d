import type { StageOption } from "./stage-option.js";

/** Filled stages from some stage to the last. */
export interface Suffix {
  /** First layer that it holds. */
  readonly start: number;
  /** Largest step time of any of its stages alone, and their times for one micro-batch together. */
  readonly worstMs: number;
  readonly sumMs: number;
  readonly first: number;
  readonly option: StageOption;
  /** One way, to the next stage. */
  readonly relayoutMs: number;
  readonly next: Suffix | null;
}

function frontier(list: Suffix[]): Suffix[] {
  list.sort((a, b) => a.worstMs - b.worstMs || a.sumMs - b.sumMs || a.option.layers - b.option.layers);
  const kept: Suffix[] = [];
  let best = Number.POSITIVE_INFINITY;
  for (const suffix of list) {
    if (suffix.sumMs >= best) continue;
    best = suffix.sumMs;
    kept.push(suffix);
  }
  return kept;
}

/**
 * Divides `layers` layers over stages, from the last stage to the first, keeping for every start and layout the
 * frontier of slowest stage and sum over stages.
 *
 * @param options ways to fill stage `s` from layer `start` on
 * @param relayout one-way layout change in front of layer `layer`
 */
export function divide(
  layers: number,
  stages: number,
  microBatches: number,
  options: (stage: number, start: number) => readonly StageOption[],
  relayout: (layer: number, from: number, to: number) => number,
  bestMs: number,
): Suffix[] {
  let suffixes = new Map<number, Suffix[]>();
  for (let stage = stages - 1; stage >= 0; stage--) {
    const found = new Map<number, Suffix[]>();
    const least = stage;
    const most = stage === 0 ? 0 : layers - (stages - stage);
    for (let start = least; start <= most; start++) {
      for (const option of options(stage, start)) {
        const end = start + option.layers;
        const nexts: readonly (Suffix | null)[] =
          stage === stages - 1 ? (end === layers ? [null] : []) : (suffixes.get(end) ?? []);
        for (const next of nexts) {
          const change = next ? relayout(end, option.last, next.first) : 0;
          const own = option.rankMs + 2 * microBatches * change;
          const suffix: Suffix = {
            start,
            worstMs: Math.max(own, next?.worstMs ?? 0),
            sumMs: option.forwardMs + option.backwardMs + 2 * change + (next?.sumMs ?? 0),
            first: option.first,
            option,
            relayoutMs: change,
            next,
          };
          if (suffix.worstMs >= bestMs) continue;
          const list = found.get(start);
          if (list) list.push(suffix);
          else found.set(start, [suffix]);
        }
      }
    }
    suffixes = new Map();
    for (const [start, list] of found) {
      const byFirst = new Map<number, Suffix[]>();
      for (const suffix of list) {
        const own = byFirst.get(suffix.first);
        if (own) own.push(suffix);
        else byFirst.set(suffix.first, [suffix]);
      }
      suffixes.set(
        start,
        [...byFirst.values()].flatMap((own) => frontier(own)),
      );
    }
  }
  return suffixes.get(0) ?? [];
}

/** The stages of a suffix, in order. */
export function suffixStages(suffix: Suffix): Suffix[] {
  const result: Suffix[] = [];
  for (let at: Suffix | null = suffix; at; at = at.next) result.push(at);
  return result;
}
