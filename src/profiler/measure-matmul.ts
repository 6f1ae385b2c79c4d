import { BYTES_PER_MB } from "../base/units.js";
import type { HardwareProfile, MatmulSample, Slowdowns } from "../cluster/hardware-profile.js";
import type { GraphRef } from "../graph/graph-ref.js";
import type { CollectiveInstruction, Instruction, Program, RunInstruction } from "../program/program.js";
import type { WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { typicalOfSlowest } from "./measure-collectives.js";
import { endOf, type MeasureOptions, measureSteps, startOf } from "./measure-steps.js";
import { type MicroTensor, microProgram } from "./micro-program.js";

/** A matrix product `[m, k] × [k, n]` as a graph. */
export interface MatmulGraph {
  readonly ref: GraphRef;
  readonly bytes: Uint8Array;
}

export type MatmulDtype = "float32" | "bfloat16";
export type MatmulGraphOf = (m: number, k: number, n: number, dtype?: MatmulDtype) => MatmulGraph;

/** Shapes as the layers of small and middle models have them: few and many rows, narrow and wide. */
const MATMUL_SHAPES: readonly (readonly [number, number, number])[] = [
  [128, 128, 128],
  [256, 256, 256],
  [256, 1024, 256],
  [512, 512, 512],
  [1024, 256, 1024],
  [1024, 1024, 1024],
];

/** Shapes of models for GPUs. */
const DEVICE_MATMUL_SHAPES: readonly (readonly [number, number, number])[] = [
  [512, 512, 512],
  [2048, 2048, 2048],
  [8192, 2048, 2048],
  [8192, 4096, 4096],
  [16384, 2048, 8192],
  [16384, 8192, 2048],
];

/** Times matrix products while every rank computes: cores and memory are shared as in training. */
export async function measureMatmuls(
  pool: WorkerPool,
  graphOf: MatmulGraphOf,
  options: MeasureOptions,
): Promise<readonly MatmulSample[]> {
  const device = pool.options.device === "cuda";
  const dtypes: readonly MatmulDtype[] = device ? ["bfloat16", "float32"] : ["float32"];
  const shapes = dtypes.flatMap((dtype) =>
    (device ? DEVICE_MATMUL_SHAPES : MATMUL_SHAPES).map(([m, k, n]) => ({ m, k, n, dtype })),
  );
  const graphs = shapes.map(({ m, k, n, dtype }) => graphOf(m, k, n, dtype));
  const tensors: MicroTensor[] = [];
  const instructions: Instruction[] = shapes.map(({ m, k, n, dtype }, graph) => {
    const first = tensors.push({ name: `a${graph}`, dtype, shape: [m, k] }) - 1;
    tensors.push({ name: `b${graph}`, dtype, shape: [k, n] });
    tensors.push({ name: `c${graph}`, dtype, shape: [m, n] });
    return runMatmul(graph, first);
  });
  const { ranks } = pool.options;
  const programs = Array.from({ length: ranks }, (_, rank) =>
    microProgram({ rank, ranks, tensors, instructions, graphs: graphs.map((graph) => graph.ref) }),
  );
  const steps = await measureSteps(pool, programs, storeOf(graphs), options);
  return shapes.map((shape, index) => ({
    ...shape,
    timeMs: typicalOfSlowest(steps, (step) => endOf(step, index) - startOf(step, index)),
  }));
}

/** Rings of a usual plan of several ranks, counted in the reserve that searches go by: gathers and reductions. */
const RESERVED_RINGS = 2;
const RESERVE_ELEMENTS = 2 ** 20;

/** What a worker's heap grows by in training: young objects, code, and pages of kernels that small products never call. */
const GROWTH_BYTES = 3.4 * BYTES_PER_MB;

/**
 * Bytes that a worker holds before any model: the process after its first small graph, when all libraries are up,
 * and what it is seen to grow by. Ask it before the pool has loaded anything else.
 */
export async function measureReserve(
  pool: WorkerPool,
  graphOf: MatmulGraphOf,
): Promise<Pick<HardwareProfile, "reservedBytes" | "held">> {
  const graph = graphOf(16, 16, 16);
  const held = (talk: (rank: number) => readonly Instruction[]): Promise<number> =>
    heldBytes(pool, graph, talk);
  const quiet = await held(() => []);
  if (pool.options.device !== "cuda") return { reservedBytes: quiet + GROWTH_BYTES };
  if (pool.options.ranks < 2)
    return { reservedBytes: quiet, held: { first: 0, group: 0, ring: 0, peer: 0, transfer: 0 } };
  const ring = (stream: DeviceStream): Instruction => collective("allReduce", stream);
  const before = await held(() => []);
  const one = await held(() => [ring("compute")]);
  const three = await held(() => [ring("compute"), ring("gather"), ring("reduce")]);
  const shared = await held(() => [ring("compute"), collective("allToAll", "compute")]);
  const apart = await held(() => [ring("compute"), collective("allToAll", "gather")]);
  const both = await held((rank) => [ring("compute"), ...(rank < 2 ? transfersOf(rank) : [])]);
  const groupAndRing = (three - one) / 2;
  const group = Math.min(groupAndRing, Math.max(0, apart - shared));
  return {
    reservedBytes: one + (RESERVED_RINGS - 1) * groupAndRing,
    held: {
      first: Math.max(0, one - before - groupAndRing),
      group,
      ring: groupAndRing - group,
      peer: Math.max(0, shared - one) / (pool.options.ranks - 1),
      transfer: Math.max(0, (both - one) / 2),
    },
  };
}

type DeviceStream = "compute" | "gather" | "reduce";

/**
 * Bytes of a worker after a small graph and some talk: on the host the mean over processes when they have loaded once
 * more, for then all garbage is collected, which otherwise makes them differ by up to 3 MB; on a device those of the
 * fullest, the arena not counted.
 */
async function heldBytes(
  pool: WorkerPool,
  graph: MatmulGraph,
  talk: (rank: number) => readonly Instruction[],
): Promise<number> {
  const { ranks, device } = pool.options;
  const named = (name: string, shape: readonly number[]): MicroTensor => ({ name, dtype: "float32", shape });
  const programs = Array.from({ length: ranks }, (_, rank) =>
    microProgram({
      rank,
      ranks,
      tensors: [
        named("sent", [RESERVE_ELEMENTS]),
        named("received", [RESERVE_ELEMENTS]),
        ...[...graph.ref.inputs, ...graph.ref.outputs].map(({ name, shape }) => named(name, shape)),
      ],
      instructions: [runMatmul(0, 2), ...talk(rank)],
      groups: [Array.from({ length: ranks }, (_, other) => other)],
      graphs: [graph.ref],
    }),
  );
  // The third step of a device replays what the second captured: by then all is allocated.
  const steps = await measureSteps(pool, programs, storeOf([graph]), { warmup: 2, repeats: 1 });
  if (device === "cuda")
    return Math.max(...steps.flat().map((step) => step.memory.residentBytes - step.arenaBytes));
  const job = { programs, graphs: storeOf([graph]), seed: null, feed: null, firstStep: 0 };
  const held = await pool.load(job);
  return held.reduce((sum, { residentBytes }) => sum + residentBytes, 0) / held.length;
}

function collective(
  op: CollectiveInstruction["op"],
  stream: DeviceStream,
  input = 0,
  output = 1,
): CollectiveInstruction {
  return {
    op,
    stream,
    waits: [],
    label: { phase: "reduce" },
    group: 0,
    reduction: "sum",
    input,
    output,
  };
}

/** One transfer each way between the first two ranks. */
function transfersOf(rank: number): readonly Instruction[] {
  return (["activations", "gradients"] as const).map((direction, from) => ({
    op: rank === from ? "send" : "receive",
    stream: `${direction}${rank === from ? "Out" : "In"}` as const,
    waits: [],
    label: { phase: "transfer" },
    peer: 1 - rank,
    tensor: from,
  }));
}

const OVERLAP_MATMULS = 8;
const OVERLAP_EDGE = 512;
const OVERLAP_ELEMENTS = 2 ** 20;
const DEVICE_OVERLAP_EDGE = 4096;
const DEVICE_OVERLAP_ELEMENTS = 2 ** 24;

/** How much computing and communication slow each other down: each alone, then both at once. */
export async function measureOverlap(
  pool: WorkerPool,
  graphOf: MatmulGraphOf,
  options: MeasureOptions,
): Promise<Slowdowns> {
  if (pool.options.ranks < 2) return { computeSlowdown: 1, communicationSlowdown: 1 };
  const onDevice = pool.options.device === "cuda";
  const edge = onDevice ? DEVICE_OVERLAP_EDGE : OVERLAP_EDGE;
  const graph = graphOf(edge, edge, edge, onDevice ? "bfloat16" : "float32");
  const times = (matmuls: number, collectives: number): Promise<OverlapTimes> =>
    overlapTimes(pool, graph, { matmuls, collectives }, options);
  const alone = await times(OVERLAP_MATMULS, 0);
  const single = await times(0, 1);
  // As many collectives as fit beside the computing, so that both are busy all the time.
  const count = Math.max(1, Math.round(alone.computeMs / single.communicationMs));
  const quiet = await times(0, count);
  const both = await times(OVERLAP_MATMULS, count);
  return {
    computeSlowdown: Math.max(1, both.computeMs / alone.computeMs),
    communicationSlowdown: Math.max(1, both.communicationMs / quiet.communicationMs),
  };
}

interface OverlapTimes {
  readonly computeMs: number;
  readonly communicationMs: number;
}

async function overlapTimes(
  pool: WorkerPool,
  graph: MatmulGraph,
  { matmuls, collectives }: { readonly matmuls: number; readonly collectives: number },
  options: MeasureOptions,
): Promise<OverlapTimes> {
  const { ranks } = pool.options;
  const elements = pool.options.device === "cuda" ? DEVICE_OVERLAP_ELEMENTS : OVERLAP_ELEMENTS;
  const tensors: MicroTensor[] = [
    ...[...graph.ref.inputs, ...graph.ref.outputs].map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    { name: "gradient", dtype: "float32", shape: [elements] },
    { name: "barrier", dtype: "float32", shape: [1] },
  ];
  const instructions: Instruction[] = [collective("allReduce", "reduce", 4, 4)];
  for (let i = 0; i < matmuls; i++) instructions.push({ ...runMatmul(0, 0), waits: [0] });
  for (let i = 0; i < collectives; i++) instructions.push(collective("allReduce", "reduce", 3, 3));
  const everyone = Array.from({ length: ranks }, (_, other) => other);
  const programs: Program[] = everyone.map((rank) =>
    microProgram({ rank, ranks, tensors, instructions, groups: [everyone], graphs: [graph.ref] }),
  );
  const steps = await measureSteps(pool, programs, storeOf([graph]), options);
  return {
    computeMs: matmuls > 0 ? typicalOfSlowest(steps, (step) => endOf(step, matmuls) - startOf(step, 1)) : 0,
    communicationMs:
      collectives > 0
        ? typicalOfSlowest(steps, (step) => endOf(step, matmuls + collectives) - endOf(step, 0))
        : 0,
  };
}

function runMatmul(graph: number, firstTensor: number): RunInstruction {
  return {
    op: "run",
    stream: "compute",
    waits: [],
    label: { phase: "forward" },
    graph,
    inputs: [firstTensor, firstTensor + 1],
    outputs: [firstTensor + 2],
  };
}

function storeOf(graphs: readonly MatmulGraph[]): ReadonlyMap<string, Uint8Array> {
  return new Map(graphs.map((graph) => [graph.ref.id, graph.bytes]));
}
