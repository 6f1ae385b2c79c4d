import type { Dtype } from "../base/units.js";
import type { Cluster } from "./cluster.js";

/** What ranks do together. */
export type Collective =
  | "allReduce"
  | "allGather"
  | "reduceScatter"
  | "allToAll"
  | "broadcast"
  | "sendReceive";

/** One measured (or estimated) matrix product of `[m, k]` with `[k, n]`. */
export interface MatmulSample {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly dtype: Dtype;
  readonly timeMs: number;
}

/**
 * One measured (or estimated) collective.
 *
 * `sizeBytes` is the whole tensor: the buffer of an all-reduce, the output of an all-gather, the input of a
 * reduce-scatter, one rank's buffer of an all-to-all, the message of a send.
 */
export interface CollectiveSample {
  readonly collective: Collective;
  readonly ranks: number;
  /** Distance between neighbours in the group: 1 for consecutive ranks. */
  readonly stride: number;
  /** Nodes that the group spans. */
  readonly nodes: number;
  /** Groups of this shape that were busy at the same time (they share NICs and memory bandwidth). */
  readonly concurrentGroups: number;
  readonly sizeBytes: number;
  readonly timeMs: number;
}

/** How much computing and communication slow each other down while both run. */
export interface Slowdowns {
  /** Factor by which computing slows down while a collective runs beside it (≥ 1). */
  readonly computeSlowdown: number;
  /** Factor by which a collective slows down while computing runs beside it (≥ 1). */
  readonly communicationSlowdown: number;
}

/** The same by what runs beside computing. */
export interface Overlap extends Slowdowns {
  /** Of ZeRO's gathers, where they differ: a device may copy parameters out of the other ranks' memory. */
  readonly gathers?: Slowdowns;
  /** Of reduce-scatters of gradients, where they differ: a device may copy their pieces and add them up. */
  readonly reductions?: Slowdowns;
}

/** What a machine can do, measured by the profiler or taken from published figures. */
export interface HardwareProfile extends Slowdowns {
  readonly cluster: Cluster;
  readonly source: "measured" | "estimated";
  readonly matmuls: readonly MatmulSample[];
  readonly collectives: readonly CollectiveSample[];
  /** Measured bytes per second of the optimizer's update over its own traffic, in 10^9 bytes per second. */
  readonly optimizerGBps: number;
  /** Cost of starting one instruction, in ms. */
  readonly launchMs: number;
  /** Bytes a worker holds before any model is loaded (runtime, libraries, communication buffers). */
  readonly reservedBytes: number;
  /** Measured devices: what a Program's graphs and communicators hold there. */
  readonly held?: HeldBytes;
}

/** The machine with collectives that take `factor` times as long. */
export function withSlowerCollectives(hardware: HardwareProfile, factor: number): HardwareProfile {
  const collectives = hardware.collectives.map((sample) => ({ ...sample, timeMs: sample.timeMs * factor }));
  return { ...hardware, collectives };
}

/** Bytes of device memory beside the arena and the graphs' workspace; see `program/communicators.ts`. */
interface HeldBytes {
  /** Communication itself, once: what the first group and ring take beside what every one takes. */
  readonly first: number;
  /** A group on a stream; more once collectives go round a ring in it. */
  readonly group: number;
  readonly ring: number;
  /** Another rank that is sent to or received from directly, in one group. */
  readonly peer: number;
  /** A pair of ranks in one direction on one stream. */
  readonly transfer: number;
}
