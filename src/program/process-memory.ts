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
  /** What else their sessions keep. */
  readonly sessionBytes: number;
}

/** A tensor, the values that graphs bind it as, and its part of the list of instructions: see docs/benchmarks/memory.md. */
const BYTES_PER_TENSOR = 2_200;
/** ONNX Runtime's arena asks for pages of this size, and is given whole ones. */
const LARGE_PAGE_BYTES = 2 ** 21;

/**
 * Predicted memory of a host rank's process.
 *
 * @param workspace of the Program's graphs, as profiled
 * @param reservedBytes of the machine's profile
 * @param messageBytes of this rank, see messageBytesByRank
 */
export function processMemory(
  program: Program,
  workspace: GraphMemory,
  reservedBytes: number,
  messageBytes: number,
): ProcessMemoryParts {
  const { arenaBytes, tensors } = program;
  const parts = {
    arenaBytes,
    workspaceBytes: workspace.runBytes + workspace.constantBytes,
    messageBytes,
    bookkeepingBytes:
      workspace.sessionBytes +
      tensors.length * BYTES_PER_TENSOR +
      (Math.ceil(workspace.runBytes / LARGE_PAGE_BYTES) * LARGE_PAGE_BYTES - workspace.runBytes),
    reservedBytes,
  };
  return { ...parts, totalBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) };
}
