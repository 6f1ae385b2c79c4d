import type { Program, Stream } from "./program.js";

/** What a rank opens on a device to talk to others: each holds buffers there. */
export interface Communicators {
  /** Groups of several ranks on a stream. */
  readonly groups: number;
  /** Those whose collectives go round a ring. */
  readonly rings: number;
  /** Those whose members send to each other directly, for layout changes and all-to-alls; may be rings too. */
  readonly exchanges: number;
  /** Pairs of ranks in one direction on one stream. */
  readonly transfers: number;
}

/** The other end of a transfer is on the stream of the same direction. */
const PARTNER: Readonly<Partial<Record<Stream, Stream>>> = {
  activationsIn: "activationsOut",
  gradientsIn: "gradientsOut",
};

/** Counts the communicators of a Program, as the CUDA device opens them. */
export function communicators(program: Program): Communicators {
  const rings = new Set<string>();
  const exchanges = new Set<string>();
  const transfers = new Set<string>();
  for (const instruction of program.instructions) {
    const { op, stream } = instruction;
    switch (op) {
      case "allReduce":
      case "allGather":
      case "reduceScatter":
      case "broadcast":
      case "allToAll":
      case "exchange": {
        const ranks = program.groups[instruction.group]!;
        if (ranks.length < 2) break;
        const direct = op === "allToAll" || op === "exchange";
        (direct ? exchanges : rings).add(`${ranks.join()} ${stream}`);
        break;
      }
      case "send":
        transfers.add(`${program.rank} ${instruction.peer} ${stream}`);
        break;
      case "receive":
        transfers.add(`${instruction.peer} ${program.rank} ${PARTNER[stream] ?? stream}`);
        break;
      default:
        break;
    }
  }
  const groups = new Set([...rings, ...exchanges]).size;
  return { groups, rings: rings.size, exchanges: exchanges.size, transfers: transfers.size };
}
