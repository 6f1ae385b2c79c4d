import { check, checkRecord, positive, refusal } from "./checked-json.js";

/** Bus bandwidths of an all-reduce by group size, in the ancestor's GB/s (which it uses as MB per ms). */
export interface AllReduceBandwidths {
  readonly consecutive: ReadonlyMap<number, number>;
  readonly strided: ReadonlyMap<number, number>;
}

/** One profiled message: MB and milliseconds. */
export type MessageSample = readonly [sizeMB: number, timeMs: number];

/** Milliseconds by group size and message size, in the order of the file. */
export interface MessageSamples {
  readonly allReduce: ReadonlyMap<number, readonly MessageSample[]>;
  readonly allToAll: ReadonlyMap<number, readonly MessageSample[]>;
}

/**
 * Reads `allreduce_bandwidth_{n}nodes_{g}gpus_per_node.json`. Keys of another form are ignored.
 * @throws GalvatronError PROFILE_INVALID
 */
export function readAllReduceBandwidths(value: unknown, source: string): AllReduceBandwidths {
  const consecutive = new Map<number, number>();
  const strided = new Map<number, number>();
  for (const [key, bandwidth] of Object.entries(checkRecord(value, source))) {
    const match = /^allreduce_size_([1-9]\d{0,6})_consec_([01])$/.exec(key);
    if (match === null) {
      if (key.startsWith("allreduce_"))
        throw refusal(source, [key], "expected a key such as allreduce_size_8_consec_1");
      continue;
    }
    (match[2] === "1" ? consecutive : strided).set(
      Number(match[1]),
      check(positive, bandwidth, source, [key]),
    );
  }
  if (consecutive.size === 0)
    throw refusal(source, ["allreduce_size_{n}_consec_1"], "missing: no bandwidth in this file");
  return { consecutive, strided };
}

/**
 * Reads `p2p_bandwidth_*.json`: bandwidth between stages by pipeline degree.
 * @throws GalvatronError PROFILE_INVALID
 */
export function readPipelineBandwidths(value: unknown, source: string): ReadonlyMap<number, number> {
  const bandwidths = new Map<number, number>();
  for (const [key, bandwidth] of Object.entries(checkRecord(value, source))) {
    if (!key.includes("pp_size_")) continue;
    const match = /pp_size_([1-9]\d{0,6})$/.exec(key);
    if (match === null) throw refusal(source, [key], "expected a key such as pp_size_4");
    bandwidths.set(Number(match[1]), check(positive, bandwidth, source, [key]));
  }
  if (bandwidths.size === 0) throw refusal(source, ["pp_size_{n}"], "missing: no bandwidth in this file");
  return bandwidths;
}

/**
 * Reads `overlap_coefficient.json`: how much slower computing and communicating run beside each other (at least 1).
 * @throws GalvatronError PROFILE_INVALID
 */
export function readOverlap(value: unknown, source: string): number {
  return check(positive.min(1), checkRecord(value, source).overlap_coe, source, ["overlap_coe"]);
}

/**
 * Reads `sp_time_*.json`: times of all-reduce and all-to-all by group and message size.
 * @throws GalvatronError PROFILE_INVALID
 */
export function readMessageSamples(value: unknown, source: string): MessageSamples {
  const allReduce = new Map<number, MessageSample[]>();
  const allToAll = new Map<number, MessageSample[]>();
  for (const [key, timeMs] of Object.entries(checkRecord(value, source))) {
    const match = /^(allreduce|all2all)_size_([1-9]\d{0,6})_([1-9]\d{0,6})MB_time$/.exec(key);
    if (match === null) {
      if (/^all(reduce|2all)/.test(key)) {
        throw refusal(source, [key], "expected a key such as allreduce_size_8_64MB_time");
      }
      continue;
    }
    const table = match[1] === "allreduce" ? allReduce : allToAll;
    const ranks = Number(match[2]);
    const sample: MessageSample = [Number(match[3]), check(positive, timeMs, source, [key])];
    const samples = table.get(ranks);
    if (samples === undefined) table.set(ranks, [sample]);
    else samples.push(sample);
  }
  if (allReduce.size === 0)
    throw refusal(source, ["allreduce_size_{n}_{m}MB_time"], "missing: no time in this file");
  return { allReduce, allToAll };
}
