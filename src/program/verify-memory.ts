import { DTYPE_BYTES } from "../base/units.js";
import { product } from "./flat-layout.js";
import { forEachRead, forEachWrite } from "./instruction-access.js";
import type { Program } from "./program.js";
import { STREAMS, streamIndex } from "./streams.js";

/** A run of arena bytes with one history. */
interface Segment {
  start: number;
  end: number;
  /** Buffer that was written here last; -1 for what nobody wrote. */
  owner: number;
  writer: number;
  /** Last reader since, by stream. */
  readers: Int32Array | undefined;
}

/**
 * Follows every byte of the arena through the program: what is read was written before, by the same buffer and with
 * nothing in between; and every two accesses that conflict are ordered by streams and waits, not by luck.
 * Knows nothing of how addresses and waits were chosen.
 */
export function memoryProblems(program: Program): readonly string[] {
  const problems: string[] = [...lifetimeProblems(program)];
  const clocks = happensBefore(program);
  const streamOf = program.instructions.map(({ stream }) => streamIndex(stream));
  const map: Segment[] = program.buffers.some(({ persistent }) => persistent)
    ? persistentSegments(program)
    : [];
  const said = new Set<string>();
  const say = (text: string): void => {
    if (said.size < 20 && !said.has(text)) {
      said.add(text);
      problems.push(`rank ${program.rank}: ${text}`);
    }
  };
  for (const [index, instruction] of program.instructions.entries()) {
    const where = `instruction ${index} (${instruction.op})`;
    const ordered = (other: number): boolean => other < 0 || clocks[index]![streamOf[other]!]! >= other;
    const range = (tensor: number): [number, number, number] => {
      const view = program.tensors[tensor]!;
      const start = program.buffers[view.buffer]!.offsetBytes + view.offsetBytes;
      return [view.buffer, start, start + product(view.shape) * DTYPE_BYTES[view.dtype]];
    };
    const reads: [number, number][] = [];
    forEachRead(instruction, (tensor) => {
      const [buffer, start, end] = range(tensor);
      reads.push([start, end]);
      const { name } = program.tensors[tensor]!;
      let reached = start;
      for (let at = findSegment(map, start); at < map.length && map[at]!.start < end; at++) {
        const segment = map[at]!;
        if (segment.start > reached) break;
        reached = segment.end;
        if (segment.owner !== buffer) {
          say(
            `${where} reads ${name}, whose bytes ${program.buffers[segment.owner]?.name ?? "nobody"} wrote last`,
          );
        } else if (!ordered(segment.writer)) {
          say(`${where} reads ${name} without waiting for instruction ${segment.writer}, which writes it`);
        }
      }
      if (reached < end) say(`${where} reads ${name} before it is written`);
    });
    for (const [start, end] of reads) {
      splitAt(map, start);
      splitAt(map, end);
      for (let at = findSegment(map, start); at < map.length && map[at]!.start < end; at++) {
        const segment = map[at]!;
        segment.readers = segment.readers?.slice() ?? new Int32Array(STREAMS.length).fill(-1);
        segment.readers[streamOf[index]!] = index;
      }
    }
    forEachWrite(instruction, (tensor) => {
      const [buffer, start, end] = range(tensor);
      if (end <= start) return;
      const { name } = program.tensors[tensor]!;
      splitAt(map, start);
      splitAt(map, end);
      const from = findSegment(map, start);
      let to = from;
      for (; to < map.length && map[to]!.start < end; to++) {
        const segment = map[to]!;
        if (segment.writer !== index && !ordered(segment.writer)) {
          say(`${where} writes ${name} without waiting for instruction ${segment.writer}, which wrote there`);
        }
        for (const reader of segment.readers ?? []) {
          if (reader !== index && !ordered(reader)) {
            say(`${where} writes ${name} without waiting for instruction ${reader}, which reads there`);
          }
        }
      }
      map.splice(from, to - from, { start, end, owner: buffer, writer: index, readers: undefined });
    });
  }
  return problems;
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
      for (let stream = 0; stream < clock.length; stream++)
        clock[stream] = Math.max(clock[stream]!, other[stream]!);
    }
    const end = clock.slice();
    end[own] = index;
    ended.push(end);
    latest[own] = end;
    return clock;
  });
}

function persistentSegments(program: Program): Segment[] {
  return program.buffers
    .flatMap((buffer, owner): Segment[] =>
      buffer.persistent && buffer.sizeBytes > 0
        ? [
            {
              start: buffer.offsetBytes,
              end: buffer.offsetBytes + buffer.sizeBytes,
              owner,
              writer: -1,
              readers: undefined,
            },
          ]
        : [],
    )
    .sort((a, b) => a.start - b.start);
}

/** First segment that ends after `address`. */
function findSegment(map: readonly Segment[], address: number): number {
  let low = 0;
  let high = map.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (map[middle]!.end <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

function splitAt(map: Segment[], address: number): void {
  const at = findSegment(map, address);
  const segment = map[at];
  if (segment === undefined || segment.start >= address) return;
  map.splice(at, 0, { ...segment, end: address });
  segment.start = address;
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
          `rank ${program.rank}: instruction ${index} (${instruction.op}) uses ${buffer.name} outside its lifetime ${buffer.first}-${buffer.last}`,
        );
      }
    };
    forEachRead(instruction, check);
    forEachWrite(instruction, check);
  }
  const always = buffers.filter(({ persistent }) => persistent);
  const passing = buffers
    .filter(({ persistent, first }) => !persistent && first >= 0)
    .sort((a, b) => a.first - b.first);
  const live = [...always];
  const byOffset = [...always].sort((a, b) => a.offsetBytes - b.offsetBytes);
  const meet = (a: (typeof buffers)[number], b: (typeof buffers)[number]): void => {
    if (a.offsetBytes < b.offsetBytes + b.sizeBytes && b.offsetBytes < a.offsetBytes + a.sizeBytes) {
      problems.push(`rank ${program.rank}: buffers ${a.name} and ${b.name} live at once in the same bytes`);
    }
  };
  for (let i = 1; i < byOffset.length; i++) meet(byOffset[i - 1]!, byOffset[i]!);
  for (const buffer of passing) {
    for (let i = live.length - 1; i >= 0; i--) {
      const other = live[i]!;
      if (!other.persistent && other.last < buffer.first) live.splice(i, 1);
      else meet(other, buffer);
    }
    live.push(buffer);
  }
  return problems;
}
