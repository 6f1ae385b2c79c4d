import type { BufferCategory } from "./program.js";

/** A buffer as the arena sees it: so many bytes between two instructions, both included. */
export interface ArenaRequest {
  readonly sizeBytes: number;
  readonly persistent: boolean;
  readonly category: BufferCategory;
  readonly first: number;
  readonly last: number;
}

export interface ArenaLayout {
  readonly offsets: readonly number[];
  readonly arenaBytes: number;
}

/** Every buffer starts at a multiple: what CUDA's allocator promises, and a multiple of cache lines. */
export const ARENA_ALIGNMENT = 256;

/** Above this many buffers, placing by size (quadratic) gives way to placing in order of time. */
const MAX_BY_SIZE = 20_000;

/**
 * Addresses for buffers: persistent ones first, states before inputs, in order; then the others so that two share bytes only when their
 * lifetimes do not meet. Addresses of states so do not depend on the number of micro-batches. Greedy by size (Pisarchyk & Lee 2020): the largest first, each into the tightest gap.
 * Deterministic.
 */
export function planArena(buffers: readonly ArenaRequest[]): ArenaLayout {
  const offsets = buffers.map(() => 0);
  let floor = 0;
  for (const states of [true, false])
    for (const [index, buffer] of buffers.entries()) {
      if (!buffer.persistent || isState(buffer) !== states) continue;
      offsets[index] = floor;
      floor += aligned(buffer.sizeBytes);
    }
  const passing = [...buffers.keys()].filter(
    (index) => !buffers[index]!.persistent && buffers[index]!.first >= 0,
  );
  const arenaBytes =
    passing.length <= MAX_BY_SIZE
      ? placeBySize(buffers, passing, floor, offsets)
      : placeByTime(buffers, passing, floor, offsets);
  return { offsets, arenaBytes };
}

/** Whether a step leaves in it what the next one goes on from. */
export function isState({ persistent, category }: Pick<ArenaRequest, "persistent" | "category">): boolean {
  return persistent && category !== "io";
}

function aligned(sizeBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / ARENA_ALIGNMENT)) * ARENA_ALIGNMENT;
}

function placeBySize(
  buffers: readonly ArenaRequest[],
  passing: readonly number[],
  floor: number,
  offsets: number[],
): number {
  const order = [...passing].sort(
    (a, b) => buffers[b]!.sizeBytes - buffers[a]!.sizeBytes || buffers[a]!.first - buffers[b]!.first || a - b,
  );
  // Placed buffers by ascending offset, in typed arrays: the inner loop reads nothing else.
  const starts = new Float64Array(order.length);
  const ends = new Float64Array(order.length);
  const firsts = new Int32Array(order.length);
  const lasts = new Int32Array(order.length);
  let placed = 0;
  let top = floor;
  for (const index of order) {
    const { sizeBytes, first, last } = buffers[index]!;
    const size = aligned(sizeBytes);
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    let cursor = floor;
    for (let i = 0; i < placed; i++) {
      if (lasts[i]! < first || firsts[i]! > last) continue;
      const gap = starts[i]! - cursor;
      if (gap >= size && gap < bestGap) {
        best = cursor;
        bestGap = gap;
        if (gap === size) break;
      }
      if (ends[i]! > cursor) cursor = ends[i]!;
    }
    const offset = best === -1 ? cursor : best;
    offsets[index] = offset;
    if (offset + size > top) top = offset + size;
    let at = placed;
    while (at > 0 && starts[at - 1]! > offset) at--;
    starts.copyWithin(at + 1, at, placed);
    ends.copyWithin(at + 1, at, placed);
    firsts.copyWithin(at + 1, at, placed);
    lasts.copyWithin(at + 1, at, placed);
    starts[at] = offset;
    ends[at] = offset + size;
    firsts[at] = first;
    lasts[at] = last;
    placed++;
  }
  return top;
}

/** Best fit in order of time among the gaps that are free at that moment. */
function placeByTime(
  buffers: readonly ArenaRequest[],
  passing: readonly number[],
  floor: number,
  offsets: number[],
): number {
  const byFirst = [...passing].sort((a, b) => buffers[a]!.first - buffers[b]!.first || a - b);
  const byLast = [...passing].sort((a, b) => buffers[a]!.last - buffers[b]!.last || a - b);
  const live: { start: number; end: number; index: number }[] = [];
  let ended = 0;
  let top = floor;
  for (const index of byFirst) {
    const { sizeBytes, first } = buffers[index]!;
    while (ended < byLast.length && buffers[byLast[ended]!]!.last < first) {
      const gone = byLast[ended++]!;
      live.splice(
        live.findIndex((one) => one.index === gone),
        1,
      );
    }
    const size = aligned(sizeBytes);
    let cursor = floor;
    let at = live.length;
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    for (const [i, one] of live.entries()) {
      const gap = one.start - cursor;
      if (gap >= size && gap < bestGap) {
        best = cursor;
        bestGap = gap;
        at = i;
      }
      cursor = one.end;
    }
    const start = best === -1 ? cursor : best;
    live.splice(at, 0, { start, end: start + size, index });
    offsets[index] = start;
    if (start + size > top) top = start + size;
  }
  return top;
}
