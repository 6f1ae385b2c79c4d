import { forEachRead, forEachWrite } from "./instruction-access.js";
import type { Instruction, TensorView } from "./program.js";
import type { DraftBuffer } from "./program-builder.js";
import { STREAMS, streamIndex } from "./streams.js";

const STREAM_COUNT = STREAMS.length;
/** Most instructions wait for nothing: one array for all of them. */
const NOTHING: readonly number[] = [];

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
  const hazards = new Hazards(buffers.length, addressTakeOvers(buffers, offsets));
  const clocks = new Clocks(instructions.length);
  return instructions.map((instruction, index) => {
    hazards.open(index, streamIndex(instruction.stream));
    forEachRead(instruction, (tensor) => hazards.read(tensors[tensor]!.buffer));
    forEachWrite(instruction, (tensor) => hazards.write(tensors[tensor]!.buffer));
    forEachRead(instruction, (tensor) => hazards.noteRead(tensors[tensor]!.buffer));
    forEachWrite(instruction, (tensor) => hazards.noteWrite(tensors[tensor]!.buffer));
    return clocks.advance(index, hazards.stream, hazards.needed);
  });
}

/** Who wrote each buffer last, and who has read it since, by stream. */
class Hazards {
  /** By stream, the latest instruction that must have ended: earlier ones of its stream have then ended too. */
  readonly needed: Int32Array = new Int32Array(STREAM_COUNT);
  stream: number = 0;
  #index = 0;
  readonly #streamOf: number[] = [];
  readonly #lastWrite: Int32Array;
  readonly #lastReads: Int32Array;
  readonly #takeOvers: (readonly number[] | undefined)[];

  constructor(buffers: number, takeOvers: (readonly number[] | undefined)[]) {
    this.#lastWrite = new Int32Array(buffers).fill(-1);
    this.#lastReads = new Int32Array(buffers * STREAM_COUNT).fill(-1);
    this.#takeOvers = takeOvers;
  }

  open(index: number, stream: number): void {
    this.#index = index;
    this.#streamOf.push(stream);
    this.stream = stream;
    this.needed.fill(-1);
  }

  read(buffer: number): void {
    this.#needWriter(buffer);
  }

  write(buffer: number): void {
    const before = this.#takeOvers[buffer];
    if (before !== undefined) {
      this.#takeOvers[buffer] = undefined;
      for (const gone of before) this.#needAll(gone);
    }
    this.#needAll(buffer);
  }

  noteRead(buffer: number): void {
    this.#lastReads[buffer * STREAM_COUNT + this.stream] = this.#index;
  }

  noteWrite(buffer: number): void {
    this.#lastWrite[buffer] = this.#index;
    const at = buffer * STREAM_COUNT;
    this.#lastReads.fill(-1, at, at + STREAM_COUNT);
  }

  #needAll(buffer: number): void {
    this.#needWriter(buffer);
    const at = buffer * STREAM_COUNT;
    for (let stream = 0; stream < STREAM_COUNT; stream++) {
      const reader = this.#lastReads[at + stream]!;
      if (reader > this.needed[stream]!) this.needed[stream] = reader;
    }
  }

  #needWriter(buffer: number): void {
    const writer = this.#lastWrite[buffer]!;
    if (writer < 0) return;
    const stream = this.#streamOf[writer]!;
    if (writer > this.needed[stream]!) this.needed[stream] = writer;
  }
}

/** By instruction and stream: the latest instruction that has surely ended when this one has. */
class Clocks {
  readonly #ended: Int32Array;
  readonly #now: Int32Array = new Int32Array(STREAM_COUNT);
  /** Latest instruction of each stream so far. */
  readonly #latest: Int32Array = new Int32Array(STREAM_COUNT).fill(-1);

  constructor(instructions: number) {
    this.#ended = new Int32Array(instructions * STREAM_COUNT);
  }

  /** The waits among `needed` that nothing else implies, ascending. */
  advance(index: number, own: number, needed: Int32Array): readonly number[] {
    const now = this.#now.fill(-1);
    const before = this.#latest[own]!;
    if (before >= 0) this.#join(before);
    const waits: number[] = [];
    // Latest first: a wait can only imply earlier ones.
    for (;;) {
      let other = -1;
      for (let stream = 0; stream < STREAM_COUNT; stream++) {
        if (needed[stream]! > now[stream]! && needed[stream]! > other) other = needed[stream]!;
      }
      if (other < 0) break;
      waits.push(other);
      this.#join(other);
    }
    now[own] = index;
    this.#latest[own] = index;
    this.#ended.set(now, index * STREAM_COUNT);
    return waits.length === 0 ? NOTHING : waits.reverse();
  }

  #join(other: number): void {
    for (let stream = 0; stream < STREAM_COUNT; stream++) {
      const ended = this.#ended[other * STREAM_COUNT + stream]!;
      if (ended > this.#now[stream]!) this.#now[stream] = ended;
    }
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
  const takeOvers: (readonly number[] | undefined)[] = buffers.map(() => undefined);
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
