import type { BufferCategory, Program } from "./program.js";

/** Bytes by category. */
type MemoryByCategory = Readonly<Record<BufferCategory, number>>;

/** What lives while each instruction runs (were they run one by one, in the order of the list). */
export interface MemoryTimeline {
  readonly rank: number;
  /** By instruction, for every category. */
  readonly bytes: Readonly<Record<BufferCategory, Float64Array>>;
  readonly total: Float64Array;
}

export interface PeakMemory {
  /** What the executor allocates: addresses are fixed, gaps between buffers included. */
  readonly arenaBytes: number;
  /** Most bytes that live at once; the arena cannot be smaller. */
  readonly liveBytes: number;
  /** Instruction at which `liveBytes` is reached first. */
  readonly instruction: number;
  /** What lives at that moment; sums to `liveBytes`. */
  readonly byCategory: MemoryByCategory;
}

export const BUFFER_CATEGORIES: readonly BufferCategory[] = [
  "parameter",
  "gradient",
  "optimizer",
  "activation",
  "transient",
  "io",
];

/** Bytes over time, by category, from the lifetimes of the buffers. */
export function memoryTimeline(program: Program): MemoryTimeline {
  const count = program.instructions.length;
  const bytes = {} as Record<BufferCategory, Float64Array>;
  for (const category of BUFFER_CATEGORIES) bytes[category] = new Float64Array(count + 1);
  for (const { category, sizeBytes, persistent, first, last } of program.buffers) {
    const change = bytes[category];
    const from = persistent ? 0 : first;
    if (from < 0) continue;
    change[from] = change[from]! + sizeBytes;
    const until = persistent ? count : last + 1;
    change[until] = change[until]! - sizeBytes;
  }
  const total = new Float64Array(count);
  for (const category of BUFFER_CATEGORIES) {
    const changes = bytes[category];
    let sum = 0;
    for (let index = 0; index < count; index++) {
      sum += changes[index]!;
      changes[index] = sum;
      total[index] = total[index]! + sum;
    }
    bytes[category] = changes.subarray(0, count);
  }
  return { rank: program.rank, bytes, total };
}

/** The moment at which a rank holds most, and what fills it then. */
export function peakMemory(program: Program): PeakMemory {
  const { bytes, total } = memoryTimeline(program);
  let instruction = 0;
  for (let index = 1; index < total.length; index++) {
    if (total[index]! > total[instruction]!) instruction = index;
  }
  const byCategory = {} as Record<BufferCategory, number>;
  for (const category of BUFFER_CATEGORIES) byCategory[category] = bytes[category][instruction] ?? 0;
  return {
    arenaBytes: program.arenaBytes,
    liveBytes: total[instruction] ?? 0,
    instruction,
    byCategory,
  };
}
