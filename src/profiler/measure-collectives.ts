import { BYTES_PER_MB } from "../base/units.js";
import type { CollectiveSample } from "../cluster/hardware-profile.js";
import type { CollectiveInstruction, Instruction, Program } from "../program/program.js";
import type { RankStep, WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { endOf, type MeasureOptions, measureSteps } from "./measure-steps.js";
import { lowerQuartile } from "./median.js";
import { type MicroTensor, microProgram } from "./micro-program.js";

const COLLECTIVES = ["allReduce", "allGather", "reduceScatter", "allToAll", "broadcast"] as const;

/** Message sizes, small enough to be quick and large enough to show the bandwidth. */
const COLLECTIVE_SIZES: readonly number[] = [4096, 65_536, BYTES_PER_MB, 8 * BYTES_PER_MB];
/** Between GPUs bandwidth is reached late. */
const DEVICE_COLLECTIVE_SIZES: readonly number[] = [
  65_536,
  BYTES_PER_MB,
  16 * BYTES_PER_MB,
  64 * BYTES_PER_MB,
  256 * BYTES_PER_MB,
];

function sizesFor(pool: WorkerPool): readonly number[] {
  return pool.options.device === "cuda" ? DEVICE_COLLECTIVE_SIZES : COLLECTIVE_SIZES;
}

/** A way to divide all ranks into equal groups. */
export interface GroupDivision {
  readonly ranks: number;
  readonly stride: number;
}

/** Every division that a strategy of powers of two can ask for. */
export function groupDivisions(ranks: number): readonly GroupDivision[] {
  const divisions: GroupDivision[] = [];
  for (let size = 2; size <= ranks; size *= 2)
    for (let stride = 1; size * stride <= ranks; stride *= 2)
      if (ranks % (size * stride) === 0) divisions.push({ ranks: size, stride });
  return divisions;
}

/** The group that a rank is in. */
export function groupOf(division: GroupDivision, rank: number): readonly number[] {
  const { ranks, stride } = division;
  const block = ranks * stride;
  const first = Math.floor(rank / block) * block + (rank % stride);
  return Array.from({ length: ranks }, (_, i) => first + i * stride);
}

/** Times one collective over one division, all sizes in one Program; every group of the division is busy at once. */
async function measureCollective(
  pool: WorkerPool,
  collective: (typeof COLLECTIVES)[number],
  division: GroupDivision,
  options: MeasureOptions,
): Promise<readonly CollectiveSample[]> {
  const ranks = pool.options.ranks;
  const runs = sizesFor(pool).map((sizeBytes) => ({
    sizeBytes,
    count: sizeBytes >= BYTES_PER_MB ? 2 : 8,
  }));
  const programs = Array.from({ length: ranks }, (_, rank) =>
    collectiveProgram(rank, ranks, collective, division, runs),
  );
  const steps = await measureSteps(pool, programs, new Map(), options);
  let barrier = 0;
  return runs.map(({ sizeBytes, count }) => {
    const from = barrier;
    barrier += count + 1;
    return {
      collective,
      ...division,
      nodes: 1,
      concurrentGroups: ranks / division.ranks,
      sizeBytes,
      timeMs: typicalOfSlowest(steps, (step) => (endOf(step, from + count) - endOf(step, from)) / count),
    };
  });
}

/** All collectives over all divisions. */
export async function measureCollectives(
  pool: WorkerPool,
  options: MeasureOptions,
  onOne: (label: string) => void,
): Promise<readonly CollectiveSample[]> {
  const samples: CollectiveSample[] = [];
  for (const division of groupDivisions(pool.options.ranks))
    for (const collective of COLLECTIVES) {
      onOne(`${collective} over ${division.ranks} ranks`);
      samples.push(...(await measureCollective(pool, collective, division, options)));
    }
  if (pool.options.ranks < 2) return samples;
  onOne("send and receive");
  samples.push(...(await measureSendReceive(pool, options)));
  return samples;
}

function collectiveProgram(
  rank: number,
  ranks: number,
  collective: (typeof COLLECTIVES)[number],
  division: GroupDivision,
  runs: readonly { readonly sizeBytes: number; readonly count: number }[],
): Program {
  const tensors: MicroTensor[] = [{ name: "barrier", dtype: "float32", shape: [1] }];
  const instructions: Instruction[] = [];
  const add = (group: number, op: CollectiveInstruction["op"], input: number, output: number): void => {
    instructions.push({
      op,
      stream: "compute",
      waits: [],
      label: { phase: "forward" },
      group,
      reduction: "sum",
      input,
      output,
    });
  };
  for (const { sizeBytes, count } of runs) {
    const whole = sizeBytes / 4;
    const piece = whole / division.ranks;
    const input = tensors.length;
    tensors.push({
      name: `in${sizeBytes}`,
      dtype: "float32",
      shape: [collective === "allGather" ? piece : whole],
    });
    tensors.push({
      name: `out${sizeBytes}`,
      dtype: "float32",
      shape: [collective === "reduceScatter" ? piece : whole],
    });
    add(0, "allReduce", 0, 0);
    for (let i = 0; i < count; i++) add(1, collective, input, input + 1);
  }
  const everyone = Array.from({ length: ranks }, (_, other) => other);
  return microProgram({ rank, ranks, tensors, instructions, groups: [everyone, groupOf(division, rank)] });
}

/** A ball thrown from rank 0 to rank 1 and back, `count` times for each size. */
async function measureSendReceive(
  pool: WorkerPool,
  options: MeasureOptions,
): Promise<readonly CollectiveSample[]> {
  const ranks = pool.options.ranks;
  const rounds = 4;
  const programs = Array.from({ length: ranks }, (_, rank) => pingPong(rank, ranks, rounds, sizesFor(pool)));
  const steps = await measureSteps(pool, programs, new Map(), options);
  return sizesFor(pool).map((sizeBytes, index) => {
    const first = 1 + index * 2 * rounds;
    const last = first + 2 * rounds - 1;
    return {
      collective: "sendReceive" as const,
      ranks: 2,
      stride: 1,
      nodes: 1,
      concurrentGroups: 1,
      sizeBytes,
      timeMs: lowerQuartile(
        steps.map((step) => (endOf(step[0]!, last) - endOf(step[0]!, first - 1)) / (2 * rounds)),
      ),
    };
  });
}

function pingPong(rank: number, ranks: number, rounds: number, sizes: readonly number[]): Program {
  const tensors: MicroTensor[] = [{ name: "barrier", dtype: "float32", shape: [1] }];
  const instructions: Instruction[] = [
    {
      op: "allReduce",
      stream: "activationsOut",
      waits: [],
      label: { phase: "transfer" },
      group: 0,
      reduction: "sum",
      input: 0,
      output: 0,
    },
  ];
  if (rank < 2)
    for (const sizeBytes of sizes) {
      const tensor = tensors.length;
      tensors.push({ name: `ball${sizeBytes}`, dtype: "float32", shape: [sizeBytes / 4] });
      for (let half = 0; half < 2 * rounds; half++) {
        const sends = half % 2 === rank;
        // Forth over the streams of activations, back over those of gradients, as in a pipeline.
        const direction = half % 2 === 0 ? "activations" : "gradients";
        instructions.push({
          op: sends ? "send" : "receive",
          stream: `${direction}${sends ? "Out" : "In"}`,
          waits: [instructions.length - 1],
          label: { phase: "transfer" },
          peer: 1 - rank,
          tensor,
        });
      }
    }
  const everyone = Array.from({ length: ranks }, (_, other) => other);
  return microProgram({ rank, ranks, tensors, instructions, groups: [everyone] });
}

/** Over steps the lower quartile, within a step the slowest rank. */
export function typicalOfSlowest(
  steps: readonly (readonly RankStep[])[],
  time: (step: RankStep) => number,
): number {
  return lowerQuartile(steps.map((ranks) => Math.max(...ranks.map(time))));
}
