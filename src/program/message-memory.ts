import type { Instruction, Program } from "./program.js";
import { tensorBytes } from "./tensor-bytes.js";

/** As native/src/meeting-place.cc lays them out: two rooms for each channel, of which every stream has two. */
const ROOMS_PER_RANK = 28;
const ROOM_ALIGNMENT = 64;
/** Below this an all-reduce is one message to everybody (native/src/host-collectives.cc). */
const SMALL_BYTES = 16384;
const LANE_BYTES = 256;
const CHANNELS = 15;
const PAGE_BYTES = 4096;

/**
 * Bytes of the shared memory between host ranks that this rank's process touches: its own rooms as far as messages
 * fill them, and what it reads of the rooms of others.
 *
 * @param sharedBytesPerRank what the ranks' shared memory was made with
 */
export function messageBytes(program: Program, sharedBytesPerRank: number): number {
  const { ranks } = program.plan;
  if (ranks === 1) return 0;
  const room = Math.floor(sharedBytesPerRank / ROOMS_PER_RANK / ROOM_ALIGNMENT) * ROOM_ALIGNMENT;
  // By channel and rank whose rooms they are.
  const touched = new Map<string, Touched[]>();
  for (const instruction of program.instructions) {
    for (const message of messagesOf(program, instruction, room)) {
      const key = `${message.channel} ${message.rank}`;
      const known = touched.get(key);
      if (known) known.push(message);
      else touched.set(key, [message]);
    }
  }
  // Both rooms of a channel take turns.
  const lanes = LANE_BYTES * CHANNELS * ranks * ranks;
  return [...touched.values()].reduce((sum, messages) => sum + 2 * pagesOf(messages, room), lanes);
}

/** Bytes of the pages that these parts of a room lie in. */
function pagesOf(parts: readonly Touched[], room: number): number {
  const sorted = [...parts].sort((a, b) => a.start - b.start);
  let bytes = 0;
  let reached = 0;
  for (const { start, end } of sorted) {
    const from = Math.max(reached, Math.floor(start / PAGE_BYTES) * PAGE_BYTES);
    const to = Math.ceil(Math.min(end, room) / PAGE_BYTES) * PAGE_BYTES;
    bytes += Math.max(0, to - from);
    reached = Math.max(reached, to);
  }
  return bytes;
}

/** A part of a rank's room, in bytes from its start. */
interface Touched {
  readonly channel: string;
  readonly rank: number;
  readonly start: number;
  readonly end: number;
}

/** What an instruction touches of the rooms of its rank and of others. */
function messagesOf(program: Program, instruction: Instruction, room: number): readonly Touched[] {
  const bytesOf = (tensor: number): number => tensorBytes(program.tensors[tensor]!);
  const { stream } = instruction;
  switch (instruction.op) {
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast": {
      const group = program.groups[instruction.group]!;
      const input = bytesOf(instruction.input);
      const { op } = instruction;
      const whole = op === "allGather" || op === "broadcast" || (op === "allReduce" && input <= SMALL_BYTES);
      if (whole) return group.map((rank) => ({ channel: stream, rank, start: 0, end: input }));
      const own = op === "reduceScatter" ? bytesOf(instruction.output) : input / group.length;
      const pieces = piecesOf(program, group, stream, Math.min(room / (group.length - 1), own));
      // A large all-reduce is read twice: pieces, each at its reader's place, and the reduced piece at the start.
      return op === "allReduce"
        ? [...pieces, ...pieces.map(({ start, end, ...whose }) => ({ ...whose, start: 0, end: end - start }))]
        : pieces;
    }
    case "exchange": {
      const sent = instruction.sends.reduce((sum, { tensor }) => sum + bytesOf(tensor), 0);
      const received = instruction.receives.map(
        ({ peer, tensor }): Touched => ({ channel: stream, rank: peer, start: 0, end: bytesOf(tensor) }),
      );
      return [{ channel: stream, rank: program.rank, start: 0, end: sent }, ...received];
    }
    case "send": {
      const channel = `transfer ${stream}`;
      return [{ channel, rank: program.rank, start: 0, end: bytesOf(instruction.tensor) }];
    }
    case "receive": {
      const channel = `transfer ${stream.replace("In", "Out")}`;
      return [{ channel, rank: instruction.peer, start: 0, end: bytesOf(instruction.tensor) }];
    }
    default:
      return [];
  }
}

/** One piece for every other member, in the order in which they follow the sender: all of its own, one of each other's. */
function piecesOf(
  { rank: self }: Program,
  group: readonly number[],
  channel: string,
  piece: number,
): readonly Touched[] {
  const count = group.length;
  const place = group.indexOf(self);
  return group.map((rank, index) => {
    if (rank === self) return { channel, rank, start: 0, end: (count - 1) * piece };
    const before = ((place - index + count) % count) - 1;
    return { channel, rank, start: before * piece, end: (before + 1) * piece };
  });
}
