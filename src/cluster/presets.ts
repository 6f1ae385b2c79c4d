import { GalvatronError } from "../base/errors.js";
import { BYTES_PER_GB } from "../base/units.js";
import { estimateCollectives } from "./estimate-collectives.js";
import { estimateMatmuls } from "./estimate-matmuls.js";
import type { HardwareProfile } from "./hardware-profile.js";

/** A machine by its published figures: per GPU and per direction, dense arithmetic, no sparsity. */
export interface MachinePreset {
  readonly name: string;
  readonly deviceName: string;
  readonly ranksPerNode: number;
  readonly memoryGB: number;
  /** Peak of bfloat16 (float16 where there is no bfloat16) and of float32 products, in 10^12 flops per second. */
  readonly halfTflops: number;
  readonly floatTflops: number;
  readonly memoryGBps: number;
  /** Bandwidth of one GPU to the others of its node. */
  readonly linkGBps: number;
  /** A switch lets every pair use its whole bandwidth; without one, groups share what lies between. */
  readonly switched: boolean;
  /** Bandwidth of the node's network in all. */
  readonly networkGBps: number;
  readonly linkLatencyMs: number;
  readonly networkLatencyMs: number;
  /** Where the figures are published. */
  readonly source: string;
}

/**
 * Machines that people plan for. Peaks are the vendor's; what a product or a collective reaches of them is estimated
 * (see `estimate-matmuls.ts`, `estimate-collectives.ts`), so profiles made from these are marked as estimates.
 */
export const MACHINE_PRESETS: readonly MachinePreset[] = [
  {
    name: "rtx-titan",
    deviceName: "NVIDIA TITAN RTX",
    ranksPerNode: 8,
    memoryGB: 24,
    halfTflops: 130.5,
    floatTflops: 16.3,
    memoryGBps: 672,
    linkGBps: 12,
    switched: false,
    networkGBps: 12.5,
    linkLatencyMs: 0.01,
    networkLatencyMs: 0.015,
    source:
      "NVIDIA TITAN RTX data sheet (2018); PCIe 3.0 x16 (16 GB/s, about 12 reached); 100 Gb/s network as in Miao et al., Galvatron, VLDB 2023",
  },
  {
    name: "dgx-1-v100",
    deviceName: "Tesla V100-SXM2-32GB",
    ranksPerNode: 8,
    memoryGB: 32,
    halfTflops: 125,
    floatTflops: 15.7,
    memoryGBps: 900,
    linkGBps: 150,
    switched: false,
    networkGBps: 50,
    linkLatencyMs: 0.007,
    networkLatencyMs: 0.012,
    source:
      "NVIDIA V100 data sheet (2020): NVLink 300 GB/s both ways; DGX-1 data sheet: 4 × 100 Gb/s InfiniBand",
  },
  {
    name: "dgx-a100-40gb",
    deviceName: "NVIDIA A100-SXM4-40GB",
    ranksPerNode: 8,
    memoryGB: 40,
    halfTflops: 312,
    floatTflops: 19.5,
    memoryGBps: 1555,
    linkGBps: 300,
    switched: true,
    networkGBps: 200,
    linkLatencyMs: 0.006,
    networkLatencyMs: 0.01,
    source:
      "NVIDIA A100 data sheet (2021): NVLink 600 GB/s both ways; DGX A100 data sheet: 8 × 200 Gb/s InfiniBand",
  },
  {
    name: "dgx-a100-80gb",
    deviceName: "NVIDIA A100-SXM4-80GB",
    ranksPerNode: 8,
    memoryGB: 80,
    halfTflops: 312,
    floatTflops: 19.5,
    memoryGBps: 2039,
    linkGBps: 300,
    switched: true,
    networkGBps: 200,
    linkLatencyMs: 0.006,
    networkLatencyMs: 0.01,
    source:
      "NVIDIA A100 data sheet (2021): NVLink 600 GB/s both ways; DGX A100 data sheet: 8 × 200 Gb/s InfiniBand",
  },
  {
    name: "hgx-h100",
    deviceName: "NVIDIA H100 80GB HBM3",
    ranksPerNode: 8,
    memoryGB: 80,
    halfTflops: 989.4,
    floatTflops: 66.9,
    memoryGBps: 3350,
    linkGBps: 450,
    switched: true,
    networkGBps: 400,
    linkLatencyMs: 0.005,
    networkLatencyMs: 0.009,
    source:
      "NVIDIA H100 data sheet (2023), SXM: NVLink 900 GB/s both ways; 8 × 400 Gb/s network as in DGX H100",
  },
  {
    name: "hgx-h200",
    deviceName: "NVIDIA H200",
    ranksPerNode: 8,
    memoryGB: 141,
    halfTflops: 989.4,
    floatTflops: 66.9,
    memoryGBps: 4800,
    linkGBps: 450,
    switched: true,
    networkGBps: 400,
    linkLatencyMs: 0.005,
    networkLatencyMs: 0.009,
    source:
      "NVIDIA H200 data sheet (2024), SXM: NVLink 900 GB/s both ways; 8 × 400 Gb/s network as in DGX H200",
  },
  {
    name: "hgx-b200",
    deviceName: "NVIDIA B200",
    ranksPerNode: 8,
    memoryGB: 180,
    halfTflops: 2250,
    floatTflops: 75,
    memoryGBps: 7700,
    linkGBps: 900,
    switched: true,
    networkGBps: 400,
    linkLatencyMs: 0.005,
    networkLatencyMs: 0.009,
    source:
      "NVIDIA DGX B200 data sheet (2024): 1,440 GB and 62 TB/s over 8 GPUs, NVLink 1.8 TB/s both ways; 8 × 400 Gb/s network",
  },
];

/** Nodes that a preset may have. */
const MOST_PRESET_NODES = 1024;
/** Share of published memory bandwidth that streaming kernels reach. */
const STREAM_SHARE = 0.85;
/** Bytes that a process holds for context, libraries and communication buffers before any model. */
const RESERVED_BYTES: number = 1.5 * BYTES_PER_GB;
const LAUNCH_MS = 0.005;
/** A collective takes some of the processors; measured values lie between 1.05 and 1.3. */
const COMPUTE_SLOWDOWN = 1.1;
const COMMUNICATION_SLOWDOWN = 1.1;

/**
 * A machine's profile from published figures, marked as estimated.
 *
 * @throws ARGUMENT_INVALID for a name that is not a preset, or a number of nodes below 1 or above 1,024
 */
export function presetHardware(name: string, nodes = 1, ranksPerNode?: number): HardwareProfile {
  const preset = MACHINE_PRESETS.find((one) => one.name === name);
  if (!preset) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `no machine preset is called "${name}"; known: ${MACHINE_PRESETS.map((one) => one.name).join(", ")}`,
      { name },
    );
  }
  const ranks = ranksPerNode ?? preset.ranksPerNode;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MOST_PRESET_NODES) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected 1 to ${MOST_PRESET_NODES} nodes, but got ${nodes}.`,
      { nodes },
    );
  }
  if (!Number.isInteger(ranks) || ranks < 1 || ranks > preset.ranksPerNode) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected 1 to ${preset.ranksPerNode} GPUs of a node of ${name}, but got ${ranks}.`,
      { ranksPerNode: ranks },
    );
  }
  return {
    cluster: {
      name: nodes === 1 ? name : `${name} × ${nodes}`,
      device: "cuda",
      deviceName: preset.deviceName,
      nodes,
      ranksPerNode: ranks,
      memoryBytesPerRank: preset.memoryGB * BYTES_PER_GB,
    },
    source: "estimated",
    matmuls: estimateMatmuls(preset),
    collectives: estimateCollectives(preset, nodes, ranks),
    computeSlowdown: COMPUTE_SLOWDOWN,
    communicationSlowdown: COMMUNICATION_SLOWDOWN,
    optimizerGBps: preset.memoryGBps * STREAM_SHARE,
    launchMs: LAUNCH_MS,
    reservedBytes: RESERVED_BYTES,
  };
}
