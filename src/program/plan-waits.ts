import { forEachRead, forEachWrite } from "./instruction-access.js";
import type { Instruction, TensorView } from "./program.js";
import type { DraftBuffer } from "./program-builder.js";
import { STREAMS, streamIndex } from "./streams.js";

/** The instruction, by stream, that ended last before something: -1 where there is none. */
type Clock = Int32Array;

/**
 * The waits of every instruction: read after write, write after read, write after write on the same buffer, and the
 * same on addresses that a buffer takes over from buffers before it. Whatever the order within streams and other
 * waits already imply is left out, so the waits are the fewest that keep the order.
 */
export function planWaits(
  instructions: readonly Instruction[],
  tensors: readonly TensorView[],
  buffers: readonly DraftBuffer[],
  offsets: readonly number[],
): readonly (readonly number[])[] {
  const streams = STREAMS.length;
  const streamOf = instructions.map((instruction) => streamIndex(instruction.stream));
  const lastWrite = new Int32Array(buffers.length).fill(-1);
  const lastReads = buffers.map(() => new Int32Array(streams).fill(-1));
  const takeOvers = addressTakeOvers(buffers, offsets);
  /** Clock of each instruction: what has ended when it has ended, itself included. */
  const clocks: Clock[] = [];
  const streamClock: Clock[] = STREAMS.map(() => new Int32Array(streams).fill(-1));
  const needed = new Set<number>();

  return instructions.map((instruction, index) => {
    const own = streamOf[index]!;
    needed.clear();
    const need = (other: number): void => {
      if (other >= 0 && other !== index && streamOf[other] !== own) needed.add(other);
    };
    const arrive = (buffer: number): void => {
      const before = takeOvers[buffer];
      if (before === undefined) return;
      takeOvers[buffer] = undefined;
      for (const gone of before) {
        need(lastWrite[gone]!);
        for (const reader of lastReads[gone]!) need(reader);
      }
    };
    const reads: number[] = [];
    forEachRead(instruction, (tensor) => {
      const { buffer } = tensors[tensor]!;
      reads.push(buffer);
      need(lastWrite[buffer]!);
    });
    forEachWrite(instruction, (tensor) => {
      const { buffer } = tensors[tensor]!;
      arrive(buffer);
      need(lastWrite[buffer]!);
      for (const reader of lastReads[buffer]!) need(reader);
    });
    for (const buffer of reads) lastReads[buffer]![own] = index;
    forEachWrite(instruction, (tensor) => {
      const { buffer } = tensors[tensor]!;
      lastWrite[buffer] = index;
      lastReads[buffer]!.fill(-1);
    });
    const clock = streamClock[own]!.slice();
    const waits: number[] = [];
    // Latest first: a wait can only imply earlier ones.
    for (const other of [...needed].sort((a, b) => b - a)) {
      if (clock[streamOf[other]!]! >= other) continue;
      waits.push(other);
      join(clock, clocks[other]!);
    }
    clock[own] = index;
    clocks.push(clock);
    streamClock[own] = clock;
    return waits.reverse();
  });
}

function join(clock: Clock, other: Clock): void {
  for (let stream = 0; stream < clock.length; stream++) {
    if (other[stream]! > clock[stream]!) clock[stream] = other[stream]!;
  }
}

interface Segment {
  readonly start: number;
  readonly end: number;
  readonly owner: number;
}

/**
 * For every buffer, the buffers whose bytes it takes over when its reservation starts. All of their instructions come
 * before that moment; those of buffers further back are implied by these.
 */
function addressTakeOvers(
  buffers: readonly DraftBuffer[],
  offsets: readonly number[],
): (readonly number[] | undefined)[] {
  const order = buffers.flatMap((buffer, index) =>
    buffer.persistent || buffer.first < 0 || buffer.sizeBytes === 0 ? [] : [index],
  );
  order.sort((a, b) => buffers[a]!.first - buffers[b]!.first || a - b);
  const takeOvers = new Array<readonly number[] | undefined>(buffers.length).fill(undefined);
  const map: Segment[] = [];
  for (const index of order) {
    const start = offsets[index]!;
    const end = start + buffers[index]!.sizeBytes;
    let low = 0;
    let high = map.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (map[middle]!.end <= start) low = middle + 1;
      else high = middle;
    }
    const replaced: Segment[] = [];
    let stop = low;
    const before: number[] = [];
    for (; stop < map.length && map[stop]!.start < end; stop++) {
      const segment = map[stop]!;
      if (!before.includes(segment.owner)) before.push(segment.owner);
      if (segment.start < start) replaced.push({ start: segment.start, end: start, owner: segment.owner });
      if (stop + 1 >= map.length || map[stop + 1]!.start >= end) {
        replaced.push({ start, end, owner: index });
        if (segment.end > end) replaced.push({ start: end, end: segment.end, owner: segment.owner });
      }
    }
    if (stop === low) replaced.push({ start, end, owner: index });
    map.splice(low, stop - low, ...replaced);
    if (before.length > 0) takeOvers[index] = before;
  }
  return takeOvers;
}
