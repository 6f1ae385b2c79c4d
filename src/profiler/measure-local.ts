import type { Instruction, Program } from "../program/program.js";
import type { WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { typicalOfSlowest } from "./measure-collectives.js";
import { endOf, type MeasureOptions, measureSteps, startOf } from "./measure-steps.js";
import { type MicroTensor, microProgram } from "./micro-program.js";

/** Elements of the vector that the optimizer is timed on: beyond every cache. */
const OPTIMIZER_ELEMENTS = 4 * 2 ** 20;
const DEVICE_OPTIMIZER_ELEMENTS = 64 * 2 ** 20;
/** Bytes that AdamW moves per element: reads parameter, gradient and two moments, writes all but the gradient. */
const ADAMW_BYTES_PER_ELEMENT = 7 * 4;
const LAUNCHES = 200;

/** AdamW's rate over its own traffic, all ranks at once, in 10^9 bytes per second. */
export async function measureOptimizer(pool: WorkerPool, options: MeasureOptions): Promise<number> {
  const elements = pool.options.device === "cuda" ? DEVICE_OPTIMIZER_ELEMENTS : OPTIMIZER_ELEMENTS;
  const tensors: MicroTensor[] = ["parameter", "gradient", "moment1", "moment2"].map((name) => ({
    name,
    dtype: "float32",
    shape: [elements],
  }));
  tensors.push(
    { name: "hyper", dtype: "float32", shape: [8] },
    { name: "clip", dtype: "float32", shape: [2] },
  );
  const instructions: Instruction[] = [
    {
      op: "adamw",
      stream: "compute",
      waits: [],
      label: { phase: "optimizer" },
      parameter: 0,
      gradient: 1,
      moment1: 2,
      moment2: 3,
      decayElements: elements,
      hyper: 4,
      clip: 5,
      computeCopy: -1,
    },
  ];
  // A learning rate of zero and an epsilon of one keep all values finite.
  const hyper = Float32Array.of(0, 0.9, 0.95, 1, 0, 1, 1, 0);
  const steps = await measureOnAllRanks(pool, tensors, instructions, options, [{ tensor: 4, values: hyper }]);
  const timeMs = typicalOfSlowest(steps, (step) => endOf(step, 0) - startOf(step, 0));
  return (elements * ADAMW_BYTES_PER_ELEMENT) / (timeMs * 1e6);
}

/** Time from one small instruction's start to the next one's, in ms. */
export async function measureLaunch(pool: WorkerPool, options: MeasureOptions): Promise<number> {
  const tensors: MicroTensor[] = [{ name: "small", dtype: "float32", shape: [1] }];
  const instructions = Array.from({ length: LAUNCHES }, (): Instruction => {
    return { op: "fill", stream: "compute", waits: [], label: { phase: "forward" }, value: 0, output: 0 };
  });
  const steps = await measureOnAllRanks(pool, tensors, instructions, options, []);
  return typicalOfSlowest(steps, (step) => (startOf(step, LAUNCHES - 1) - startOf(step, 0)) / (LAUNCHES - 1));
}

async function measureOnAllRanks(
  pool: WorkerPool,
  tensors: readonly MicroTensor[],
  instructions: readonly Instruction[],
  options: MeasureOptions,
  constants: readonly { readonly tensor: number; readonly values: Float32Array }[],
): ReturnType<typeof measureSteps> {
  const { ranks } = pool.options;
  const programs: Program[] = Array.from({ length: ranks }, (_, rank) => ({
    ...microProgram({ rank, ranks, tensors, instructions }),
    constants: constants.map(({ tensor, values }) => ({ tensor, values: [...values] })),
  }));
  return measureSteps(pool, programs, new Map(), options);
}
