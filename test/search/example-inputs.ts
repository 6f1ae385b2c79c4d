import { BYTES_PER_MB } from "../../src/base/units.js";
import type { CollectiveSample, HardwareProfile } from "../../src/cluster/hardware-profile.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { SearchInputs } from "../../src/search/search.js";

/** A GPT by its widths, without the model room's presets. */
export function exampleModel(
  layers: number,
  hidden: number,
  sequence: number,
  vocabulary: number,
): ModelSpec {
  const feedForward = 4 * hidden;
  const matrices = 4 * hidden * hidden + 2 * hidden * feedForward;
  return {
    family: "gpt",
    name: "example",
    sequence,
    vocabulary,
    kinds: {
      decoder: {
        name: "decoder",
        hidden,
        heads: 8,
        keyValueHeads: 8,
        feedForward,
        sequence,
        parameters: matrices + 13 * hidden,
        forwardFlops: 2 * sequence * matrices + 4 * sequence * sequence * hidden,
      },
    },
    layers: new Array<string>(layers).fill("decoder"),
    embedding: { parameters: (vocabulary + sequence) * hidden },
    head: { parameters: 2 * hidden, forwardFlops: 2 * sequence * hidden * vocabulary, tied: true },
    options: {},
  };
}

/** A machine of equal links: latency 0.02 ms a round, 5 GB/s. */
export function exampleHardware(ranks: number): HardwareProfile {
  const collectives: CollectiveSample[] = [];
  for (const collective of ["allReduce", "allGather", "reduceScatter", "allToAll", "sendReceive"] as const) {
    for (let group = 2; group <= ranks; group *= 2) {
      if (collective === "sendReceive" && group > 2) continue;
      const rounds = collective === "allReduce" ? 2 * (group - 1) : group - 1;
      for (const sizeBytes of [1024, 65_536, 1_048_576, 16_777_216]) {
        const timeMs = 0.02 * rounds + (rounds / group) * (sizeBytes / 5e6);
        collectives.push({
          collective,
          ranks: group,
          stride: 1,
          nodes: 1,
          concurrentGroups: ranks / group,
          sizeBytes,
          timeMs,
        });
      }
    }
  }
  return {
    cluster: {
      name: "example",
      device: "host",
      deviceName: "example",
      nodes: 1,
      ranksPerNode: ranks,
      memoryBytesPerRank: 8192 * BYTES_PER_MB,
    },
    source: "estimated",
    matmuls: [
      { m: 256, k: 256, n: 256, dtype: "float32", timeMs: 0.5 },
      { m: 1024, k: 1024, n: 1024, dtype: "float32", timeMs: 20 },
    ],
    collectives,
    computeSlowdown: 1.2,
    communicationSlowdown: 1.2,
    optimizerGBps: 5,
    launchMs: 0.01,
    reservedBytes: 60 * BYTES_PER_MB,
  };
}

export function exampleInputs(ranks: number, budgetMB: number, layers = 8): SearchInputs {
  const model = exampleModel(layers, 256, 256, 256);
  const hardware = exampleHardware(ranks);
  return {
    model,
    modelProfile: analyticProfile(model, hardware),
    hardware,
    budgetBytes: budgetMB * BYTES_PER_MB,
  };
}
