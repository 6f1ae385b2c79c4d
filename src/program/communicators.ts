import { copiedCollectives } from "./copied-collectives.js";
import type { CollectiveInstruction, ExchangeInstruction, Program, Stream } from "./program.js";

/** What a rank opens on a device to talk to others: each holds buffers there. */
export interface Communicators {
  /** Groups of several ranks on a stream. */
  readonly groups: number;
  /** Those with collectives that go round a ring, which opens with the first: not where all of them are copied. */
  readonly rings: number;
  /** Ranks that this one sends to or receives from directly, for layout changes and all-to-alls, summed over groups. */
  readonly peers: number;
  /** Pairs of ranks in one direction on one stream. */
  readonly transfers: number;
  /** Ranks whose memory is opened to copy from, and bytes that are copied to before they are added. */
  readonly opened: number;
  readonly stagingBytes: number;
}

/** The other end of a transfer is on the stream of the same direction. */
const PARTNER: Readonly<Partial<Record<Stream, Stream>>> = {
  activationsIn: "activationsOut",
  gradientsIn: "gradientsOut",
};

/** Whom an instruction sends to or receives from directly; `null` where it goes round a ring. */
function directPeers(
  instruction: CollectiveInstruction | ExchangeInstruction,
  ranks: readonly number[],
): readonly number[] | null {
  if (instruction.op === "exchange")
    return [...instruction.sends, ...instruction.receives].map(({ peer }) => peer);
  return instruction.op === "allToAll" ? ranks : null;
}

/** Counts the communicators of a Program, as the CUDA device opens them. */
export function communicators(program: Program): Communicators {
  const { gathers, toldGathers, reductions, stagingBytes } = copiedCollectives(program);
  const copied = new Set([...gathers, ...toldGathers, ...reductions]);
  const groups = new Set<string>();
  const rings = new Set<string>();
  const exchanges = new Map<string, Set<number>>();
  const transfers = new Set<string>();
  for (const [index, instruction] of program.instructions.entries()) {
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
        const key = `${ranks.join()} ${stream}`;
        groups.add(key);
        if (copied.has(index)) break;
        const peers = directPeers(instruction, ranks);
        if (peers === null) {
          rings.add(key);
          break;
        }
        const known = exchanges.get(key) ?? new Set<number>();
        exchanges.set(key, known);
        for (const peer of peers) if (peer !== program.rank) known.add(peer);
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
  const peers = [...exchanges.values()].reduce((sum, known) => sum + known.size, 0);
  const opened = new Set(
    [...copied].flatMap(
      (index) => program.groups[(program.instructions[index] as CollectiveInstruction).group]!,
    ),
  );
  opened.delete(program.rank);
  return {
    groups: groups.size,
    rings: rings.size,
    peers,
    transfers: transfers.size,
    opened: opened.size,
    stagingBytes,
  };
}
