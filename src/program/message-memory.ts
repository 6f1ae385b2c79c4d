import { DTYPE_BYTES } from "../base/units.js";
import type { Instruction, Program } from "./program.js";
import { STREAMS } from "./streams.js";
import { tensorBytes } from "./tensor-bytes.js";

/** As native/src/shared-layout.h lays them out. */
const PAGE_BYTES = 4096;
const HEADER_BYTES = 2112;
const PROCESS_BYTES = 64;
const BELL_BYTES = 64;
const LANE_BYTES = 256;
/** One of every stream for collectives, one for transfers; one more has no rooms. */
const ROOM_CHANNELS = 2 * STREAMS.length;
const CHANNELS = ROOM_CHANNELS + 1;
/** As native/src/host-collectives.cc cuts messages. */
const SMALL_BYTES = 16384;
const LINE_ELEMENTS = 64;
const MESSAGES_PER_ROOM = 4;

/** A part of a room that is handed to one reader. */
interface Message {
  readonly reader: number;
  readonly start: number;
  readonly bytes: number;
}

/** What the next rooms are filled with, and how often in a row. */
interface Round {
  readonly rooms: readonly (readonly Message[])[];
  readonly times: number;
}

/**
 * Bytes of the shared memory between host ranks that each rank's process touches, in whole pages: its own rooms as far
 * as messages fill them, what it reads of the rooms of others, and the lists of messages. A rank fills the two rooms of
 * a channel in turn, whatever speaks on it; two steps show all that any step touches.
 *
 * @param programs of all ranks
 * @param sharedBytesPerRank what the ranks' shared memory was made with
 */
export function messageBytesByRank(
  programs: readonly Program[],
  sharedBytesPerRank: number,
): readonly number[] {
  if (programs.length === 1) return [0];
  const roomPages = Math.floor(sharedBytesPerRank / (2 * ROOM_CHANNELS) / PAGE_BYTES);
  const rooms = 2 * ROOM_CHANNELS * programs.length;
  const touched = programs.map(() => new Uint8Array(rooms * roomPages));
  for (const program of programs) touchRooms(program, roomPages, touched);
  return touched.map((pages, rank) => {
    const inRooms = pages.reduce((sum, page) => sum + page, 0);
    return (inRooms + listPages(rank, programs.length)) * PAGE_BYTES;
  });
}

/** Marks what a rank writes, and what others read of it. */
function touchRooms(program: Program, roomPages: number, touched: readonly Uint8Array[]): void {
  const next = new Array<number>(ROOM_CHANNELS).fill(0);
  // Layers and micro-batches repeat: the number of rooms that the same talk took, from the same room on.
  const known = new Map<string, number>();
  for (const instruction of [...program.instructions, ...program.instructions]) {
    const talk = talkOf(program, instruction);
    if (talk === null) continue;
    const first = next[talk.channel]!;
    const key = `${first % 2} ${talk.key}`;
    let taken = known.get(key);
    if (taken === undefined) {
      taken = 0;
      for (const { rooms, times } of talk.rounds(roomPages * PAGE_BYTES)) {
        // After two rounds, of an even number of rooms after one, the same rooms are filled alike.
        for (let filled = 0; filled < rooms.length * Math.min(times, 1 + (rooms.length % 2)); filled++) {
          const half = (first + taken + filled) % 2;
          const room = ((program.rank * ROOM_CHANNELS + talk.channel) * 2 + half) * roomPages;
          for (const { reader, start, bytes } of rooms[filled % rooms.length]!) {
            const from = room + Math.floor(start / PAGE_BYTES);
            const to = room + Math.ceil((start + bytes) / PAGE_BYTES);
            touched[program.rank]!.fill(1, from, to);
            touched[reader]!.fill(1, from, to);
          }
        }
        taken += rooms.length * times;
      }
      known.set(key, taken);
    }
    next[talk.channel] = first + taken;
  }
}

/** The header, all bells, and the lists of messages from and to this rank. */
function listPages(rank: number, ranks: number): number {
  const lanes = HEADER_BYTES + ranks * (PROCESS_BYTES + CHANNELS * BELL_BYTES);
  const lane = (writer: number, reader: number): number =>
    lanes + (writer * ranks + reader) * CHANNELS * LANE_BYTES;
  const pages = new Set<number>();
  const touch = (start: number, end: number): void => {
    for (let page = Math.floor(start / PAGE_BYTES); page * PAGE_BYTES < end; page++) pages.add(page);
  };
  touch(0, lanes);
  touch(lane(rank, 0), lane(rank, ranks));
  for (let writer = 0; writer < ranks; writer++) touch(lane(writer, rank), lane(writer, rank + 1));
  return pages.size;
}

/** What a rank sends by one instruction. */
interface Talk {
  readonly channel: number;
  /** The same for the same rounds. */
  readonly key: string;
  readonly rounds: (roomBytes: number) => Iterable<Round>;
}

function talkOf(program: Program, instruction: Instruction): Talk | null {
  const bytesOf = (tensor: number): number => tensorBytes(program.tensors[tensor]!);
  const channel = STREAMS.indexOf(instruction.stream);
  switch (instruction.op) {
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast": {
      const { op } = instruction;
      const group = program.groups[instruction.group]!;
      if (group.length === 1) return null;
      const input = bytesOf(instruction.input);
      const output = bytesOf(instruction.output);
      const width = DTYPE_BYTES[program.tensors[instruction.input]!.dtype];
      const key = `${channel} ${op} ${instruction.group} ${input} ${output} ${width}`;
      const from = { group, self: program.rank, width };
      return {
        channel,
        key,
        rounds: (room) => {
          if (op === "allReduce") return allReduceRounds(from, input, room);
          if (op === "allGather") return wholeRounds(othersAfter(from), input, room);
          if (op === "broadcast")
            return group[0] === program.rank ? wholeRounds(othersAfter(from), output, room) : [];
          if (op === "reduceScatter") return pieceRounds(from, output, room);
          return pieceRounds({ ...from, width: 1 }, input / group.length, room);
        },
      };
    }
    case "exchange": {
      const sends = instruction.sends.map(({ peer, tensor }) => ({ reader: peer, bytes: bytesOf(tensor) }));
      const key = `${channel} exchange ${sends.map(({ reader, bytes }) => `${reader}:${bytes}`).join(" ")}`;
      return { channel, key, rounds: (room) => exchangeRounds(sends, room) };
    }
    case "send": {
      const { peer } = instruction;
      const bytes = bytesOf(instruction.tensor);
      const transfer = STREAMS.length + channel;
      return {
        channel: transfer,
        key: `${transfer} send ${peer} ${bytes}`,
        rounds: (room) => wholeRounds([peer], bytes, room),
      };
    }
    default:
      return null;
  }
}

interface Sender {
  readonly group: readonly number[];
  readonly self: number;
  /** Bytes that are not cut: those of an element, or 1. */
  readonly width: number;
}

/** The other members, in the order in which they follow the sender. */
function othersAfter({ group, self }: Sender): readonly number[] {
  const place = group.indexOf(self);
  return [...group.slice(place + 1), ...group.slice(0, place)];
}

/** Everybody reads all of it. */
function wholeRounds(readers: readonly number[], bytes: number, room: number): readonly Round[] {
  return inChunks(bytes, room, (length) => readers.map((reader) => ({ reader, start: 0, bytes: length })));
}

/** A piece of its own for every other member. */
function pieceRounds(from: Sender, piece: number, room: number): readonly Round[] {
  const most = Math.floor(room / (from.group.length - 1) / from.width) * from.width;
  return inChunks(piece, Math.max(most, from.width), (length) =>
    othersAfter(from).map((reader, index) => ({ reader, start: index * length, bytes: length })),
  );
}

/** Pieces to reduce, and then the reduced piece to everybody; small tensors whole. */
function allReduceRounds(from: Sender, bytes: number, room: number): readonly Round[] {
  const { group, self, width } = from;
  const others = othersAfter(from);
  if (bytes === 0) return [];
  if (bytes <= Math.min(SMALL_BYTES, room)) return wholeRounds(others, bytes, room);
  const most = Math.floor(room / width / others.length / LINE_ELEMENTS) * LINE_ELEMENTS;
  const largest = Math.max(most, 1);
  const whole = largest * group.length;
  const roundOf = (chunk: number, times: number): Round => {
    const even = Math.ceil(chunk / group.length / LINE_ELEMENTS) * LINE_ELEMENTS;
    const piece = Math.min(largest, even);
    const bytesOf = (member: number): number => {
      const place = group.indexOf(member);
      return (Math.min(chunk, piece * (place + 1)) - Math.min(chunk, piece * place)) * width;
    };
    let start = 0;
    const pieces = others.map((reader) => {
      const message = { reader, start, bytes: bytesOf(reader) };
      start += message.bytes;
      return message;
    });
    const reduced = others.map((reader) => ({ reader, start: 0, bytes: bytesOf(self) }));
    return { rooms: [pieces, reduced], times };
  };
  const total = bytes / width;
  return [roundOf(whole, Math.floor(total / whole)), roundOf(total % whole, total % whole === 0 ? 0 : 1)];
}

/** Whole chunks and what is left. */
function inChunks(
  bytes: number,
  most: number,
  messages: (length: number) => readonly Message[],
): readonly Round[] {
  const rest = bytes % most;
  return [
    { rooms: [messages(most)], times: Math.floor(bytes / most) },
    { rooms: [messages(rest)], times: rest === 0 ? 0 : 1 },
  ];
}

/** Pieces of any size one after the other, cut at whole rooms. */
function* exchangeRounds(
  sends: readonly { readonly reader: number; readonly bytes: number }[],
  room: number,
): Generator<Round> {
  let messages: Message[] = [];
  let filled = 0;
  for (const { reader, bytes } of sends) {
    for (let done = 0; done < bytes; done += room) {
      const length = Math.min(room, bytes - done);
      if (messages.length === MESSAGES_PER_ROOM || filled + length > room) {
        yield { rooms: [messages], times: 1 };
        messages = [];
        filled = 0;
      }
      messages.push({ reader, start: filled, bytes: length });
      filled += length;
    }
  }
  if (messages.length > 0) yield { rooms: [messages], times: 1 };
}
