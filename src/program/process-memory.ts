import { messageBytes } from "./message-memory.js";
import type { Program } from "./program.js";

/** Bytes of one rank's process at its peak, by part; all that the operating system counts. */
export interface ProcessMemoryParts {
  /** The Program's buffers, to the byte. */
  readonly arenaBytes: number;
  /** ONNX Runtime's own: inside the graph that takes most, and constants of all graphs. */
  readonly workspaceBytes: number;
  /** Messages between ranks. */
  readonly messageBytes: number;
  /** Sessions of ONNX Runtime, tensors and instructions, and the rest of the arena's last large page. */
  readonly bookkeepingBytes: number;
  /** The process before any model: Node.js, libraries, their heaps. */
  readonly reservedBytes: number;
  readonly totalBytes: number;
}

/** What graphs take inside ONNX Runtime. */
export interface GraphMemory {
  /** The most that one of them takes while it runs, gaps between its blocks included. */
  readonly runBytes: number;
  /** Constants of all of them together. */
  readonly constantBytes: number;
}

/** A session of ONNX Runtime, beside its arena; fitted, as the two below, see docs/benchmarks/memory.md. */
const BYTES_PER_GRAPH = 203_000;
/** A tensor, the values that graphs bind it as, and its part of the list of instructions. */
const BYTES_PER_TENSOR = 2_000;
/** What copies of constants leave in the heap when they are given back. */
const CONSTANT_RESTS = 0.15;
/** ONNX Runtime's arena asks for pages of this size, and is given whole ones. */
const LARGE_PAGE_BYTES = 2 ** 21;

/**
 * Predicted memory of a host rank's process.
 *
 * @param workspace of the Program's graphs, as profiled
 * @param reservedBytes of the machine's profile
 * @param sharedBytesPerRank shared memory for messages between ranks
 */
export function processMemory(
  program: Program,
  workspace: GraphMemory,
  reservedBytes: number,
  sharedBytesPerRank: number,
): ProcessMemoryParts {
  const { arenaBytes, graphs, tensors } = program;
  const parts = {
    arenaBytes,
    workspaceBytes: workspace.runBytes + workspace.constantBytes,
    messageBytes: messageBytes(program, sharedBytesPerRank),
    bookkeepingBytes:
      graphs.length * BYTES_PER_GRAPH +
      tensors.length * BYTES_PER_TENSOR +
      CONSTANT_RESTS * workspace.constantBytes +
      (Math.ceil(workspace.runBytes / LARGE_PAGE_BYTES) * LARGE_PAGE_BYTES - workspace.runBytes),
    reservedBytes,
  };
  return { ...parts, totalBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) };
}
