import { BYTES_PER_MB } from "../base/units.js";
import type { Cluster } from "../cluster/cluster.js";
import type { Collective, CollectiveSample, HardwareProfile } from "../cluster/hardware-profile.js";
import type { AncestorInputs } from "./case.js";
import { CONTEXT_MB } from "./cost/fitted-profile.js";

/** What the ancestor never measured. */
export interface UnmeasuredHardware {
  /** Bandwidth of the optimizer's update over its own traffic, in 10^9 bytes per second. */
  readonly optimizerGBps: number;
  /** Cost of starting one instruction, in ms. */
  readonly launchMs: number;
}

/** Message sizes at which a bandwidth alone is laid out as samples, in MB. */
const SIZES_MB: readonly number[] = [1, 16, 256, 1024];

/**
 * Our hardware profile from the ancestor's files, so that its users need not measure again.
 *
 * Bandwidths are bus bandwidths in MB per ms (as its cost model reads them), so that an all-reduce of n ranks moves
 * 2 (n − 1) / n of its buffer. A gather or a scatter is half an all-reduce, as there. Message times stand as measured.
 * Groups are taken as measured with every rank busy.
 */
export function hardwareProfileOf(
  inputs: Pick<AncestorInputs, "allReduce" | "pipeline" | "messages" | "overlap">,
  cluster: Cluster,
  unmeasured: UnmeasuredHardware,
): HardwareProfile {
  const ranks = cluster.nodes * cluster.ranksPerNode;
  const samples: CollectiveSample[] = [];
  const add = (
    collective: Collective,
    group: number,
    stride: number,
    sizeMB: number,
    timeMs: number,
  ): void => {
    if (group > ranks || group < 2) return;
    samples.push({
      collective,
      ranks: group,
      stride,
      nodes: Math.min(cluster.nodes, Math.ceil((group * stride) / cluster.ranksPerNode)),
      concurrentGroups: Math.max(1, Math.floor(ranks / group)),
      sizeBytes: sizeMB * BYTES_PER_MB,
      timeMs,
    });
  };
  const addReduce = (group: number, stride: number, sizeMB: number, timeMs: number): void => {
    add("allReduce", group, stride, sizeMB, timeMs);
    add("allGather", group, stride, sizeMB, timeMs / 2);
    add("reduceScatter", group, stride, sizeMB, timeMs / 2);
  };
  const { consecutive, strided } = inputs.allReduce;
  for (const [group, times] of inputs.messages.allReduce) {
    for (const [sizeMB, timeMs] of times) addReduce(group, 1, sizeMB, timeMs);
  }
  const byBandwidth = (group: number, stride: number, bandwidth: number): void => {
    for (const sizeMB of SIZES_MB)
      addReduce(group, stride, sizeMB, (2 * (group - 1) * sizeMB) / group / bandwidth);
  };
  for (const [group, bandwidth] of consecutive) {
    if (!inputs.messages.allReduce.has(group)) byBandwidth(group, 1, bandwidth);
  }
  for (const [group, bandwidth] of strided) {
    if (group < ranks) byBandwidth(group, Math.floor(ranks / group), bandwidth);
  }
  for (const [group, times] of inputs.messages.allToAll) {
    for (const [sizeMB, timeMs] of times) add("allToAll", group, 1, sizeMB, timeMs);
  }
  for (const [stages, bandwidth] of inputs.pipeline) {
    if (stages > ranks) continue;
    for (const sizeMB of SIZES_MB)
      add("sendReceive", 2, Math.floor(ranks / stages), sizeMB, sizeMB / bandwidth);
  }
  return {
    cluster,
    source: "measured",
    matmuls: [],
    collectives: samples,
    computeSlowdown: inputs.overlap,
    communicationSlowdown: inputs.overlap,
    optimizerGBps: unmeasured.optimizerGBps,
    launchMs: unmeasured.launchMs,
    reservedBytes: CONTEXT_MB * BYTES_PER_MB,
  };
}
