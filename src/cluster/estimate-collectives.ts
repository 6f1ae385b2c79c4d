import type { Collective, CollectiveSample } from "./hardware-profile.js";
import type { MachinePreset } from "./presets.js";

const COLLECTIVES: readonly Collective[] = [
  "allReduce",
  "allGather",
  "reduceScatter",
  "allToAll",
  "sendReceive",
];
/** Two sizes make a line: these estimates have no other shape. */
const SIZES: readonly number[] = [1024, 2 ** 30];
/** Share of a link's bandwidth that collectives reach. */
const REACHED = 0.8;

/**
 * Times of collectives from link figures: t = rounds · latency + volume · bytes / bandwidth, with rounds and volume of
 * a ring (Thakur et al. 2005; across many nodes latency grows with the logarithm, as trees do it). A group across
 * nodes is bound by the network; its share of the node's network is that of its ranks on the node, because the groups
 * beside it send at the same time. Inside a node without a switch, groups whose members lie apart share the links
 * between.
 */
export function estimateCollectives(
  preset: MachinePreset,
  nodes: number,
  ranksPerNode: number,
): CollectiveSample[] {
  const total = nodes * ranksPerNode;
  const samples: CollectiveSample[] = [];
  for (const collective of COLLECTIVES) {
    for (const ranks of collective === "sendReceive" ? [2] : divisorsFrom2(total)) {
      if (ranks > total) continue;
      for (const stride of divisorsFrom1(total / ranks)) {
        const spanned =
          stride >= ranksPerNode ? ranks : Math.max(1, Math.ceil((ranks * stride) / ranksPerNode));
        const perNode = Math.max(1, Math.round(ranks / spanned));
        const concurrentGroups = Math.max(1, Math.floor((spanned * ranksPerNode) / ranks));
        const shared = preset.switched || stride === 1 ? 1 : Math.min(stride, 4);
        const linkGBps = (preset.linkGBps / shared) * REACHED;
        const networkGBps = ((preset.networkGBps * perNode) / ranksPerNode) * REACHED;
        const bandwidth = spanned > 1 ? Math.min(linkGBps, networkGBps) : linkGBps;
        const latency = spanned > 1 ? preset.networkLatencyMs : preset.linkLatencyMs;
        for (const sizeBytes of SIZES) {
          const timeMs =
            latency * rounds(collective, ranks, spanned) +
            (volume(collective, ranks) * sizeBytes) / (bandwidth * 1e6);
          samples.push({ collective, ranks, stride, nodes: spanned, concurrentGroups, sizeBytes, timeMs });
        }
      }
    }
  }
  return samples;
}

function rounds(collective: Collective, ranks: number, nodes: number): number {
  if (collective === "sendReceive") return 1;
  const one = nodes > 1 ? Math.ceil(ranks / nodes) - 1 + Math.ceil(Math.log2(nodes)) : Math.min(ranks - 1, 4);
  return collective === "allReduce" ? 2 * one : one;
}

function volume(collective: Collective, ranks: number): number {
  if (collective === "sendReceive") return 1;
  return ((collective === "allReduce" ? 2 : 1) * (ranks - 1)) / ranks;
}

function divisorsFrom1(value: number): number[] {
  const result: number[] = [];
  for (let i = 1; i <= value; i *= 2) if (value % i === 0) result.push(i);
  return result;
}

/** Powers of two up to the machine, and every divisor of a small one. */
function divisorsFrom2(total: number): number[] {
  const result = new Set<number>();
  for (let i = 2; i <= total; i *= 2) result.add(i);
  for (let i = 2; i <= Math.min(total, 64); i++) if (total % i === 0) result.add(i);
  return [...result].sort((a, b) => a - b);
}
