import { type AncestorStrategy, shareDegree, splitDegree } from "../ancestor-strategy.js";
import { type CostOptions, type FittedProfile, messageMs, shareMsPerMB } from "./fitted-profile.js";

/** Time of embedding and head by stage for one micro-batch, in seconds. */
export interface VocabularyTimes {
  readonly synced: readonly number[];
  readonly unsynced: readonly number[];
}

const MB: number = 1024 * 1024;
const BACKWARD_FACTOR: number = 2;

/**
 * The ancestor's embedding and head time (its version 3.0): the profiled rest of the forward pass, half on the first
 * stage and half on the last; reductions of a quarter of the states; one gather at either end under tensor parallelism.
 * Returns undefined where the profile lacks a number that the strategy needs.
 */
export function vocabularyTimes(
  profile: FittedProfile,
  options: CostOptions,
  strategy: AncestorStrategy,
  samples: number,
): VocabularyTimes | undefined {
  const { stages, tensor } = strategy;
  const share = shareDegree(strategy);
  const split = splitDegree(strategy);
  const perMB = shareMsPerMB(profile, share, tensor);
  if (perMB === undefined) return undefined;
  const reduceMsPerMB = (perMB * (share - 1)) / share;
  const line = profile.vocabularyForward;
  const forward = line.perUnit * (samples / split / strategy.context) + line.constant;

  const gather: number[] = [];
  for (const kind of profile.kinds) {
    if (tensor === 1) {
      gather.push(0);
      continue;
    }
    // the hidden width is that of the first kind, as everywhere in the ancestor's embedding model
    const messageMB =
      (samples * kind.sequence * profile.kinds[0]!.hidden * (options.mixedPrecision ? 2 : 4)) / MB;
    const message = messageMs(profile.gather, tensor, messageMB);
    if (message === undefined) return undefined;
    gather.push(message);
  }
  const firstGather = gather[0]!;
  const lastGather = gather[gather.length - 1]!;

  const synced = Array.from({ length: stages }, () => 0);
  const unsynced = Array.from({ length: stages }, () => 0);
  const place = (stage: number, states: number | undefined, forwardMs: number, gatherMs: number): boolean => {
    if (states === undefined) return false;
    const reduceMs = (states / 4) * (options.mixedPrecision ? 0.5 : 1) * reduceMsPerMB;
    const zero3 = strategy.dataParallel === "zero3";
    const fetch = zero3 ? 0.5 : 0;
    const reduce = zero3 ? 1 : 0.5;
    const forwardPart = beside(reduceMs * fetch, forwardMs, profile.overlap);
    const backwardMs = forwardMs * BACKWARD_FACTOR;
    synced[stage] = 0.001 * (forwardPart + beside(reduceMs * reduce, backwardMs, profile.overlap) + gatherMs);
    unsynced[stage] =
      0.001 * (forwardPart + beside(reduceMs * (reduce - 0.5), backwardMs, profile.overlap) + gatherMs);
    return true;
  };
  const known =
    stages === 1
      ? place(0, profile.vocabularyWhole.statesMB.get(tensor), forward, firstGather + lastGather)
      : place(0, profile.vocabularyFirst.statesMB.get(tensor), forward / 2, firstGather) &&
        place(stages - 1, profile.vocabularyLast.statesMB.get(tensor), forward / 2, lastGather);
  return known ? { synced, unsynced } : undefined;
}

/** Communication beside computation; only the computation is slowed here. */
function beside(communication: number, computation: number, overlap: number): number {
  const slow = computation * overlap;
  return slow > communication ? communication + (slow - communication) / overlap : communication;
}
