import type { Line } from "./fits.js";

/** Times of a collective by message: exact where that very size was profiled, on a line elsewhere. */
export interface MessageTimes {
  /** Milliseconds by message size in MB. */
  readonly exact: ReadonlyMap<number, number>;
  /** Milliseconds over MB. */
  readonly line: Line;
}

/** A table by split degree, MB. */
export type ByDegree = ReadonlyMap<number, number>;

/** One type of layer. */
export interface KindProfile {
  readonly hidden: number;
  readonly sequence: number;
  readonly layers: number;
  /** Parameters of one whole layer in float32. */
  readonly parameterMB: number;
  /** Activations of one sample on one rank, by split degree. */
  readonly activationMB: ByDegree;
  /** What of them stays under recompute, before any split. */
  readonly recomputeActivationMB: number | undefined;
  /** Forward milliseconds of one layer over samples per split rank. */
  readonly forward: Line;
}

/** Embedding and head on one stage, by split degree. */
export interface VocabularyMemory {
  readonly statesMB: ByDegree;
  readonly activationMB: ByDegree;
}

/** Everything that the ancestor's formulas read, after its fits. */
export interface FittedProfile {
  readonly kinds: readonly KindProfile[];
  /** Forward milliseconds of embedding and head together over samples per split rank. */
  readonly vocabularyForward: Line;
  readonly vocabularyWhole: VocabularyMemory;
  readonly vocabularyFirst: VocabularyMemory;
  readonly vocabularyLast: VocabularyMemory;
  /** Milliseconds per MB of an all-reduce, by group size, for consecutive and for strided ranks. */
  readonly consecutiveMsPerMB: ByDegree;
  readonly stridedMsPerMB: ByDegree;
  /** Milliseconds per MB of a transfer between stages, by pipeline degree. */
  readonly pipelineMsPerMB: ByDegree;
  /** Times of an all-gather (or reduce-scatter: half an all-reduce), by group size. */
  readonly gather: ReadonlyMap<number, MessageTimes>;
  readonly allToAll: ReadonlyMap<number, MessageTimes>;
  /** Slowdown of computing and of communicating while both run. */
  readonly overlap: number;
}

/** What of the ancestor's arguments the formulas read. */
export interface CostOptions {
  /** Any precision but fp32 halves what is sent. */
  readonly mixedPrecision: boolean;
  readonly asyncGradReduce: boolean;
  readonly sequenceParallel: boolean;
  readonly pipeline: "gpipe" | "pipedream_flush";
  /** The ancestor's debugging factor on layer times. */
  readonly timeFactor: number;
}

/** MB that every stage pays for the framework's context. */
export const CONTEXT_MB: number = 1024;

/**
 * Milliseconds of one message: the profiled time if that size was profiled, else the line.
 * `undefined` where the group size was not profiled.
 */
export function messageMs(
  tables: ReadonlyMap<number, MessageTimes>,
  ranks: number,
  messageMB: number,
): number | undefined {
  const times = tables.get(ranks);
  if (times === undefined) return undefined;
  return times.exact.get(messageMB) ?? times.line.perUnit * messageMB + times.line.constant;
}

/** Milliseconds per MB of a reduction among the ranks that share parameters: strided once tensor ranks lie between them. */
export function shareMsPerMB(profile: FittedProfile, share: number, tensor: number): number | undefined {
  if (share === 1) return 0;
  return (tensor !== 1 ? profile.stridedMsPerMB : profile.consecutiveMsPerMB).get(share);
}
