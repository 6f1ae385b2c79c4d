import { DTYPE_BYTES } from "../base/units.js";
import { product } from "./flat-layout.js";
import type { Instruction, Program } from "./program.js";

/** As native/src/meeting-place.cc lays them out: two rooms for each channel, of which every stream has two. */
const ROOMS_PER_RANK = 28;
const ROOM_ALIGNMENT = 64;
/** Below this an all-reduce is one message to everybody (native/src/host-collectives.cc). */
const SMALL_BYTES = 16384;
const LANE_BYTES = 256;
const CHANNELS = 15;

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
  const touched = new Map<string, number>();
  const touch = (channel: string, rank: number, bytes: number): void => {
    const key = `${channel} ${rank}`;
    touched.set(key, Math.max(touched.get(key) ?? 0, bytes));
  };
  for (const instruction of program.instructions) {
    for (const { channel, rank, bytes } of messagesOf(program, instruction, room))
      touch(channel, rank, bytes);
  }
  const lanes = LANE_BYTES * CHANNELS * ranks * ranks;
  return lanes + [...touched.values()].reduce((sum, bytes) => sum + Math.min(bytes, 2 * room), 0);
}

interface Touched {
  readonly channel: string;
  readonly rank: number;
  readonly bytes: number;
}

/** Bytes of both rooms of every rank that an instruction touches. */
function messagesOf(program: Program, instruction: Instruction, room: number): readonly Touched[] {
  const bytesOf = (tensor: number): number => {
    const { shape, dtype } = program.tensors[tensor]!;
    return product(shape) * DTYPE_BYTES[dtype];
  };
  const { stream } = instruction;
  switch (instruction.op) {
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast": {
      const group = program.groups[instruction.group]!;
      const others = group.length - 1;
      const input = bytesOf(instruction.input);
      const piece = Math.min(room / others, input / group.length);
      // Both rooms take turns.
      let own = 2 * others * piece;
      let read = 2 * piece;
      if (instruction.op === "allReduce") {
        if (input <= SMALL_BYTES) own = read = 2 * input;
        // A large one is read twice: pieces, each at its reader's place, and the reduced piece at the start.
        else if (others > 1) read = 4 * piece;
      } else if (instruction.op === "allGather" || instruction.op === "broadcast") own = read = 2 * input;
      else if (instruction.op === "reduceScatter") {
        const scattered = Math.min(room / others, bytesOf(instruction.output));
        own = 2 * others * scattered;
        read = 2 * scattered;
      }
      return group.map((rank) => ({ channel: stream, rank, bytes: rank === program.rank ? own : read }));
    }
    case "exchange": {
      const sent = instruction.sends.reduce((sum, { tensor }) => sum + bytesOf(tensor), 0);
      const received = instruction.receives.map(({ peer, tensor }) => ({
        channel: stream,
        rank: peer,
        bytes: 2 * bytesOf(tensor),
      }));
      return [{ channel: stream, rank: program.rank, bytes: 2 * sent }, ...received];
    }
    case "send":
      return [{ channel: `transfer ${stream}`, rank: program.rank, bytes: 2 * bytesOf(instruction.tensor) }];
    case "receive": {
      const channel = `transfer ${stream.replace("In", "Out")}`;
      return [{ channel, rank: instruction.peer, bytes: 2 * bytesOf(instruction.tensor) }];
    }
    default:
      return [];
  }
}
