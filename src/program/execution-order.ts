import type { Program } from "./program.js";
import type { Rendezvous } from "./rendezvous.js";
import { STREAMS, streamIndex } from "./streams.js";

/** An order in which the streams of all ranks can run everything, or how far they come. */
export interface ExecutionOrder {
  /**
   * `[rank0, instruction0, …]` in an order that keeps streams, waits and meetings. Members of one meeting stand
   * together, in the order of the meeting's member list.
   */
  readonly order: Int32Array;
  /** Entries of `order` that were filled; less than all when the rest waits for each other for ever. */
  readonly completed: number;
  /** First instruction of each stream that never ran: `[rank, instruction]`. */
  readonly stuck: readonly (readonly [number, number])[];
}

/**
 * Runs the streams of all ranks without time: every stream in order, every wait kept, meetings when all have come.
 * Streams never choose, so if this order ends, every execution ends; if it gets stuck, every execution does.
 */
export function executionOrder(programs: readonly Program[], rendezvous: Rendezvous): ExecutionOrder {
  const total = programs.reduce((sum, { instructions }) => sum + instructions.length, 0);
  const order = new Int32Array(2 * total);
  let filled = 0;
  const ranks = programs.map((program) => openStreams(program));
  const arrived = new Int32Array(rendezvous.expected.length);
  // Ready streams, as rank * streams + stream.
  const ready: number[] = [];
  const complete = (rank: number, index: number): void => {
    order[filled++] = rank;
    order[filled++] = index;
    const state = ranks[rank]!;
    const stream = state.streamOf[index]!;
    state.head[stream] = state.head[stream]! + 1;
    ready.push(rank * STREAMS.length + stream);
    for (let at = state.dependentStart[index]!; at < state.dependentStart[index + 1]!; at++) {
      const dependent = state.dependents[at]!;
      state.missing[dependent] = state.missing[dependent]! - 1;
      if (state.missing[dependent] === 0) ready.push(rank * STREAMS.length + state.streamOf[dependent]!);
    }
  };
  const position = new Map<number, number>();
  for (const [position_, program] of programs.entries()) position.set(program.rank, position_);
  for (let rank = 0; rank < programs.length; rank++) {
    for (let stream = 0; stream < STREAMS.length; stream++) ready.push(rank * STREAMS.length + stream);
  }
  while (ready.length > 0) {
    const next = ready.pop()!;
    const rank = Math.floor(next / STREAMS.length);
    const state = ranks[rank]!;
    const queue = state.queues[next % STREAMS.length]!;
    const index = queue[state.head[next % STREAMS.length]!];
    if (index === undefined || state.missing[index]! > 0) continue;
    const meeting = rendezvous.meetingOf[rank]![index]!;
    if (meeting < 0) {
      complete(rank, index);
      continue;
    }
    if (state.waiting[index] === 1) continue;
    state.waiting[index] = 1;
    arrived[meeting] = arrived[meeting]! + 1;
    if (arrived[meeting]! < rendezvous.expected[meeting]!) continue;
    const members = rendezvous.members[meeting]!;
    for (let at = 0; at < members.length; at += 2) complete(position.get(members[at]!)!, members[at + 1]!);
  }
  const stuck: [number, number][] = [];
  for (const [rank, state] of ranks.entries()) {
    for (const [stream, queue] of state.queues.entries()) {
      const index = queue[state.head[stream]!];
      if (index !== undefined) stuck.push([rank, index]);
    }
  }
  return { order, completed: filled / 2, stuck };
}

function openStreams(program: Program): {
  readonly streamOf: Uint8Array;
  readonly queues: readonly (readonly number[])[];
  readonly head: Int32Array;
  readonly missing: Int32Array;
  readonly waiting: Uint8Array;
  readonly dependentStart: Int32Array;
  readonly dependents: Int32Array;
} {
  const count = program.instructions.length;
  const streamOf = new Uint8Array(count);
  const queues: number[][] = STREAMS.map(() => []);
  const missing = new Int32Array(count);
  const dependentStart = new Int32Array(count + 1);
  for (const [index, { stream, waits }] of program.instructions.entries()) {
    streamOf[index] = streamIndex(stream);
    queues[streamOf[index]!]!.push(index);
    missing[index] = waits.length;
    for (const wait of waits) dependentStart[wait + 1] = dependentStart[wait + 1]! + 1;
  }
  for (let index = 0; index < count; index++) {
    dependentStart[index + 1] = dependentStart[index + 1]! + dependentStart[index]!;
  }
  const at = dependentStart.slice(0, count);
  const dependents = new Int32Array(dependentStart[count]!);
  for (const [index, { waits }] of program.instructions.entries()) {
    for (const wait of waits) {
      dependents[at[wait]!] = index;
      at[wait] = at[wait]! + 1;
    }
  }
  return {
    streamOf,
    queues,
    head: new Int32Array(STREAMS.length),
    missing,
    waiting: new Uint8Array(count),
    dependentStart,
    dependents,
  };
}
