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
  /** Sessions of ONNX Runtime, the list of instructions and the tensors they name. */
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

/** A session of ONNX Runtime, beside its arena; fitted, as the one below, see docs/benchmarks/memory.md. */
const BYTES_PER_GRAPH = 170_000;
/** An instruction with its bindings and the message it came in. */
const BYTES_PER_INSTRUCTION = 6_000;

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
  const { arenaBytes, graphs, instructions } = program;
  const parts = {
    arenaBytes,
    workspaceBytes: workspace.runBytes + workspace.constantBytes,
    messageBytes: messageBytes(program, sharedBytesPerRank),
    bookkeepingBytes: graphs.length * BYTES_PER_GRAPH + instructions.length * BYTES_PER_INSTRUCTION,
    reservedBytes,
  };
  return { ...parts, totalBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) };
}
