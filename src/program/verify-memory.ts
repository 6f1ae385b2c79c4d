import { product } from "./flat-layout.js";
import { forEachRead, forEachWrite } from "./instruction-access.js";
import type { BufferPlan, Program } from "./program.js";
import { readState } from "./read-state.js";
import { STREAMS, streamIndex } from "./streams.js";
import { tensorBytes } from "./tensor-bytes.js";

/** A run of a buffer's bytes with one history. Addresses are those of the arena. */
interface Segment {
  start: number;
  end: number;
  readonly writer: number;
  /** Last reader since, by stream. */
  readers: Int32Array | undefined;
}

/** A run of arena bytes and the buffer that took it last. */
interface Holding {
  readonly start: number;
  readonly end: number;
  readonly buffer: number;
}

/**
 * Follows the bytes of the arena through the program: what is read was written before, by the same buffer and with
 * no other buffer in between; and every two accesses that conflict are ordered by streams and waits, not by luck.
 * Knows nothing of how addresses and waits were chosen.
 */
export function memoryProblems(program: Program): readonly string[] {
  const arena = new ArenaHistory(program);
  for (const [index, instruction] of program.instructions.entries()) {
    arena.enter(index);
    forEachRead(instruction, (tensor) => arena.read(tensor));
    forEachRead(instruction, (tensor) => arena.noteRead(tensor));
    forEachWrite(instruction, (tensor) => arena.write(tensor));
  }
  return [...lifetimeProblems(program), ...arena.problems];
}

/** Most problems told of one program: the first ones explain the rest. */
const MOST_PROBLEMS = 20;

class ArenaHistory {
  readonly problems: string[] = [];
  readonly #program: Program;
  readonly #clocks: readonly Int32Array[];
  readonly #streamOf: Uint8Array;
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  /** By buffer, ascending, without overlap. */
  readonly #segments: Segment[][];
  /** By address, ascending, without overlap. */
  readonly #holdings: Holding[];
  readonly #holds: Uint8Array;
  #index = 0;

  constructor(program: Program) {
    this.#program = program;
    this.#clocks = happensBefore(program);
    this.#streamOf = Uint8Array.from(program.instructions, ({ stream }) => streamIndex(stream));
    const { buffers, tensors } = program;
    this.#starts = Float64Array.from(
      tensors,
      ({ buffer, offsetBytes }) => buffers[buffer]!.offsetBytes + offsetBytes,
    );
    this.#ends = Float64Array.from(tensors, (view, tensor) => this.#starts[tensor]! + tensorBytes(view));
    const untouched = (start: number, end: number): Segment[] => [
      { start, end, writer: -1, readers: undefined },
    ];
    this.#segments = buffers.map(({ persistent, offsetBytes, sizeBytes }) =>
      persistent ? untouched(offsetBytes, offsetBytes + sizeBytes) : [],
    );
    // Where others update parts of a vector that this rank holds whole, these are old until they are gathered.
    for (const flat of program.flats) {
      const whole = flat.wholeBetweenSteps ? flat[readState(flat)] : -1;
      for (const [tensor, from] of [
        [flat.parameter, flat.parameterStart],
        [flat.computeCopy, flat.computeCopyStart],
      ] as const) {
        const view = tensors[tensor];
        if (view === undefined || tensor === whole) continue;
        const elementBytes = tensorBytes(view) / product(view.shape);
        const start = this.#starts[tensor]! + (flat.shardStart - from) * elementBytes;
        this.#segments[view.buffer] = untouched(start, start + flat.shardElements * elementBytes);
      }
    }
    this.#holdings = buffers
      .flatMap(({ persistent, offsetBytes: start, sizeBytes }, buffer) =>
        persistent && sizeBytes > 0 ? [{ start, end: start + sizeBytes, buffer }] : [],
      )
      .sort((a, b) => a.start - b.start);
    this.#holds = Uint8Array.from(buffers, ({ persistent }) => (persistent ? 1 : 0));
  }

  enter(index: number): void {
    this.#index = index;
  }

  read(tensor: number): void {
    const [start, end] = [this.#starts[tensor]!, this.#ends[tensor]!];
    const view = this.#program.tensors[tensor]!;
    let reached = start;
    for (const segment of this.#segments[view.buffer]!) {
      if (segment.end <= start) continue;
      if (segment.start >= end || segment.start > reached) break;
      reached = segment.end;
      if (!this.#ordered(segment.writer)) {
        this.#say(`reads ${view.name} without waiting for instruction ${segment.writer}, which writes it`);
      }
    }
    if (reached < end) {
      const others = this.#takers(start, end, view.buffer);
      this.#say(
        others === ""
          ? `reads ${view.name} before it is written`
          : `reads ${view.name}, whose bytes ${others} took`,
      );
    }
  }

  noteRead(tensor: number): void {
    const [start, end] = [this.#starts[tensor]!, this.#ends[tensor]!];
    const segments = this.#segments[this.#program.tensors[tensor]!.buffer]!;
    splitAt(segments, start);
    splitAt(segments, end);
    for (const segment of segments) {
      if (segment.start < start || segment.end > end) continue;
      segment.readers ??= new Int32Array(STREAMS.length).fill(-1);
      segment.readers[this.#streamOf[this.#index]!] = this.#index;
    }
  }

  write(tensor: number): void {
    const [start, end] = [this.#starts[tensor]!, this.#ends[tensor]!];
    if (end <= start) return;
    const { buffer, name } = this.#program.tensors[tensor]!;
    if (this.#holds[buffer] === 0) this.#take(buffer);
    const segments = this.#segments[buffer]!;
    splitAt(segments, start);
    splitAt(segments, end);
    let from = 0;
    while (from < segments.length && segments[from]!.end <= start) from++;
    let to = from;
    for (; to < segments.length && segments[to]!.start < end; to++) this.#replace(segments[to]!, name);
    segments.splice(from, to - from, { start, end, writer: this.#index, readers: undefined });
  }

  /** The buffer's first write: whoever used its bytes before must be done. */
  #take(buffer: number): void {
    this.#holds[buffer] = 1;
    const { offsetBytes: start, sizeBytes, name } = this.#program.buffers[buffer]!;
    const end = start + sizeBytes;
    const holdings = this.#holdings;
    let low = 0;
    let high = holdings.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holdings[middle]!.end <= start) low = middle + 1;
      else high = middle;
    }
    const instead: Holding[] = [{ start, end, buffer }];
    let stop = low;
    for (; stop < holdings.length && holdings[stop]!.start < end; stop++) {
      const gone = holdings[stop]!;
      if (gone.start < start) instead.unshift({ ...gone, end: start });
      if (gone.end > end) instead.push({ ...gone, start: end });
      const segments = this.#segments[gone.buffer]!;
      splitAt(segments, start);
      splitAt(segments, end);
      this.#segments[gone.buffer] = segments.filter((segment) => {
        if (segment.end <= start || segment.start >= end) return true;
        this.#replace(segment, name);
        return false;
      });
      this.#holds[gone.buffer] = 0;
    }
    holdings.splice(low, stop - low, ...instead);
  }

  /** What is written over must have been written and read to the end. */
  #replace(segment: Segment, name: string): void {
    if (segment.writer !== this.#index && !this.#ordered(segment.writer)) {
      this.#say(`writes ${name} without waiting for instruction ${segment.writer}, which wrote there`);
    }
    if (segment.readers === undefined) return;
    for (const reader of segment.readers) {
      if (reader !== this.#index && !this.#ordered(reader)) {
        this.#say(`writes ${name} without waiting for instruction ${reader}, which reads there`);
      }
    }
  }

  #ordered(other: number): boolean {
    return other < 0 || this.#clocks[this.#index]![this.#streamOf[other]!]! >= other;
  }

  #takers(start: number, end: number, except: number): string {
    const names = this.#holdings
      .filter((one) => one.start < end && one.end > start && one.buffer !== except)
      .map(({ buffer }) => this.#program.buffers[buffer]!.name);
    return names.slice(0, 2).join(" and ");
  }

  #say(text: string): void {
    if (this.problems.length >= MOST_PROBLEMS) return;
    const { op } = this.#program.instructions[this.#index]!;
    const problem = `rank ${this.#program.rank}: instruction ${this.#index} (${op}) ${text}`;
    if (!this.problems.includes(problem)) this.problems.push(problem);
  }
}

function splitAt(segments: Segment[], address: number): void {
  for (let at = 0; at < segments.length; at++) {
    const segment = segments[at]!;
    if (segment.start >= address) return;
    if (segment.end <= address) continue;
    segments.splice(at, 0, { ...segment, end: address, readers: segment.readers?.slice() });
    segment.start = address;
    return;
  }
}

/** Clock of every instruction when it starts: by stream, the last instruction that has surely ended. */
function happensBefore(program: Program): readonly Int32Array[] {
  const latest = STREAMS.map(() => new Int32Array(STREAMS.length).fill(-1));
  const ended: Int32Array[] = [];
  return program.instructions.map((instruction, index) => {
    const own = streamIndex(instruction.stream);
    const clock = latest[own]!.slice();
    for (const wait of instruction.waits) {
      const other = ended[wait];
      if (other === undefined) continue;
      for (let stream = 0; stream < clock.length; stream++) {
        clock[stream] = Math.max(clock[stream]!, other[stream]!);
      }
    }
    const end = clock.slice();
    end[own] = index;
    ended.push(end);
    latest[own] = end;
    return clock;
  });
}

/** Buffers keep to their lifetimes, and two that live at once share no byte. */
function lifetimeProblems(program: Program): readonly string[] {
  const problems: string[] = [];
  const { buffers, tensors } = program;
  for (const [index, instruction] of program.instructions.entries()) {
    const check = (tensor: number): void => {
      const buffer = buffers[tensors[tensor]!.buffer]!;
      if (!buffer.persistent && (index < buffer.first || index > buffer.last)) {
        problems.push(
          `rank ${program.rank}: instruction ${index} (${instruction.op}) uses ${buffer.name} ` +
            `outside its lifetime ${buffer.first}-${buffer.last}`,
        );
      }
    };
    forEachRead(instruction, check);
    forEachWrite(instruction, check);
  }
  const passing = buffers.filter(({ persistent, first }) => !persistent && first >= 0);
  const byFirst = [...passing].sort((a, b) => a.first - b.first);
  const byLast = [...passing].sort((a, b) => a.last - b.last);
  /** Ascending by address. */
  const live: BufferPlan[] = [];
  const place = (buffer: BufferPlan): number => {
    let low = 0;
    let high = live.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (live[middle]!.offsetBytes < buffer.offsetBytes) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const come = (buffer: BufferPlan): void => {
    if (buffer.sizeBytes === 0) return;
    const at = place(buffer);
    for (const neighbour of [live[at - 1], live[at]]) {
      if (neighbour === undefined) continue;
      const [low, high] =
        neighbour.offsetBytes <= buffer.offsetBytes ? [neighbour, buffer] : [buffer, neighbour];
      if (low.offsetBytes + low.sizeBytes > high.offsetBytes) {
        problems.push(
          `rank ${program.rank}: buffers ${neighbour.name} and ${buffer.name} live at once in the same bytes`,
        );
      }
    }
    live.splice(at, 0, buffer);
  };
  for (const buffer of buffers) if (buffer.persistent) come(buffer);
  let gone = 0;
  for (const buffer of byFirst) {
    for (; gone < byLast.length && byLast[gone]!.last < buffer.first; gone++) {
      const at = live.indexOf(byLast[gone]!, place(byLast[gone]!));
      if (at >= 0) live.splice(at, 1);
    }
    come(buffer);
  }
  return problems;
}
