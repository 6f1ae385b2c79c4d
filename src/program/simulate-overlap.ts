import { GalvatronError } from "../base/errors.js";
import type { Overlap, Slowdowns } from "../cluster/hardware-profile.js";
import type { Instruction, Program } from "./program.js";
import { isTransfer, type Rendezvous } from "./rendezvous.js";
import type { DurationOf, SimulatedTimes } from "./simulate.js";
import { gathersParameters, isCollective, scattersGradients } from "./span-kind.js";
import { STREAMS, streamIndex } from "./streams.js";

/** What slows what down; gathers of parameters and reductions are kinds where they have factors of their own. */
type Kind = "compute" | "communicate" | "gather" | "reduce";

/** Something that runs now, on one rank or on all members of a meeting. */
interface Task {
  readonly kind: Kind;
  /** `[rank0, instruction0, …]` */
  readonly members: readonly number[];
  readonly startMs: number;
  /** Work left, in ms at full speed, as of `sinceMs`. */
  left: number;
  sinceMs: number;
  rate: number;
  /** Counts changes of rate, so that outdated entries of the agenda are told. */
  version: number;
}

/** One expected end. */
interface Expected {
  readonly atMs: number;
  readonly task: Task;
  readonly version: number;
}

/**
 * The simulation with mutual slowdown: while a rank computes and communicates at once, its computing runs at
 * 1 / computeSlowdown and the communication at 1 / communicationSlowdown of full speed. Two that compute at once each run at
 * half of it: element-wise work is bound by memory, but takes multiprocessors from products.
 */
export function simulateOverlap(
  programs: readonly Program[],
  rendezvous: Rendezvous,
  duration: DurationOf,
  slowdown: Overlap,
): SimulatedTimes {
  const times = programs.map(({ instructions }) => new Float64Array(2 * instructions.length));
  const missing = programs.map(({ instructions }) =>
    Int32Array.from(instructions, ({ waits }) => waits.length),
  );
  const dependents = programs.map(({ instructions }) => {
    const lists: number[][] = instructions.map(() => []);
    for (const [index, { waits }] of instructions.entries())
      for (const wait of waits) lists[wait]!.push(index);
    return lists;
  });
  const queues = programs.map(({ instructions }) => {
    const lists: number[][] = STREAMS.map(() => []);
    for (const [index, { stream }] of instructions.entries()) lists[streamIndex(stream)]!.push(index);
    return lists;
  });
  const heads = programs.map(() => new Int32Array(STREAMS.length));
  const begun = programs.map(({ instructions }) => new Uint8Array(instructions.length));
  const arrived = new Int32Array(rendezvous.expected.length);
  const running: Set<Task>[] = programs.map(() => new Set());
  const busy: Record<Kind, Int32Array> = {
    compute: new Int32Array(programs.length),
    communicate: new Int32Array(programs.length),
    gather: new Int32Array(programs.length),
    reduce: new Int32Array(programs.length),
  };
  const slowdowns: Record<Exclude<Kind, "compute">, Slowdowns> = {
    communicate: slowdown,
    gather: slowdown.gathers ?? slowdown,
    reduce: slowdown.reductions ?? slowdown,
  };
  const kindOf = (instruction: Instruction): Kind => {
    if (slowdown.gathers !== undefined && gathersParameters(instruction)) return "gather";
    if (slowdown.reductions !== undefined && scattersGradients(instruction)) return "reduce";
    return isCollective(instruction) || isTransfer(instruction) ? "communicate" : "compute";
  };
  const agenda = new Agenda();
  let now = 0;

  const rateOf = (task: Task): number => {
    let factor = 1;
    for (let at = 0; at < task.members.length; at += 2) {
      const rank = task.members[at]!;
      if (task.kind === "compute") {
        // Element-wise work on a stream of collectives computes, too.
        factor *= busy.compute[rank]!;
        if (busy.communicate[rank]! > 0) factor *= slowdowns.communicate.computeSlowdown;
        if (busy.gather[rank]! > 0) factor *= slowdowns.gather.computeSlowdown;
        if (busy.reduce[rank]! > 0) factor *= slowdowns.reduce.computeSlowdown;
      } else if (busy.compute[rank]! > 0) return 1 / slowdowns[task.kind].communicationSlowdown;
    }
    return 1 / factor;
  };
  const schedule = (task: Task): void => {
    agenda.push({ atMs: now + task.left / task.rate, task, version: task.version });
  };
  /** Some rank of `task` began or stopped computing or communicating: everybody on it may change speed. */
  const rerate = (task: Task): void => {
    for (let at = 0; at < task.members.length; at += 2) {
      for (const other of running[task.members[at]!]!) {
        const rate = rateOf(other);
        if (rate === other.rate) continue;
        other.left = Math.max(0, other.left - (now - other.sinceMs) * other.rate);
        other.sinceMs = now;
        other.rate = rate;
        other.version++;
        schedule(other);
      }
    }
  };
  const count = (task: Task, by: number): void => {
    const counts = busy[task.kind];
    for (let at = 0; at < task.members.length; at += 2) {
      const rank = task.members[at]!;
      counts[rank] = counts[rank]! + by;
      if (by > 0) running[rank]!.add(task);
      else running[rank]!.delete(task);
    }
  };
  const begin = (members: readonly number[]): void => {
    let left = 0;
    for (let at = 0; at < members.length; at += 2) {
      left = Math.max(left, duration(programs[members[at]!]!, members[at + 1]!));
    }
    const kind = kindOf(programs[members[0]!]!.instructions[members[1]!]!);
    const task: Task = { kind, members, startMs: now, left, sinceMs: now, rate: 1, version: 0 };
    count(task, 1);
    task.rate = rateOf(task);
    schedule(task);
    rerate(task);
  };
  const tryHead = (rank: number, stream: number): void => {
    const index = queues[rank]![stream]![heads[rank]![stream]!];
    if (index === undefined || missing[rank]![index]! > 0 || begun[rank]![index] === 1) return;
    begun[rank]![index] = 1;
    const meeting = rendezvous.meetingOf[rank]![index]!;
    if (meeting < 0) {
      begin([rank, index]);
      return;
    }
    arrived[meeting] = arrived[meeting]! + 1;
    if (arrived[meeting] === rendezvous.expected[meeting]) begin(rendezvous.members[meeting]!);
  };
  const end = (task: Task): void => {
    count(task, -1);
    for (let at = 0; at < task.members.length; at += 2) {
      const rank = task.members[at]!;
      const index = task.members[at + 1]!;
      times[rank]![2 * index] = task.startMs;
      times[rank]![2 * index + 1] = now;
      const stream = streamIndex(programs[rank]!.instructions[index]!.stream);
      heads[rank]![stream] = heads[rank]![stream]! + 1;
    }
    rerate(task);
    for (let at = 0; at < task.members.length; at += 2) {
      const rank = task.members[at]!;
      const index = task.members[at + 1]!;
      tryHead(rank, streamIndex(programs[rank]!.instructions[index]!.stream));
      for (const dependent of dependents[rank]![index]!) {
        missing[rank]![dependent] = missing[rank]![dependent]! - 1;
        if (missing[rank]![dependent] === 0) {
          tryHead(rank, streamIndex(programs[rank]!.instructions[dependent]!.stream));
        }
      }
    }
  };

  for (let rank = 0; rank < programs.length; rank++) {
    for (let stream = 0; stream < STREAMS.length; stream++) tryHead(rank, stream);
  }
  let ended = 0;
  for (let next = agenda.pop(); next !== undefined; next = agenda.pop()) {
    if (next.version !== next.task.version) continue;
    now = next.atMs;
    next.task.version++;
    ended += next.task.members.length / 2;
    end(next.task);
  }
  const total = programs.reduce((sum, { instructions }) => sum + instructions.length, 0);
  if (ended < total) {
    throw new GalvatronError(
      "PROGRAM_INVALID",
      `The programs deadlock: ${total - ended} instructions never run.`,
      {
        instructions: total - ended,
      },
    );
  }
  return { stepMs: now, times };
}

/** Binary heap of expected ends, earliest first; first in, first out among equals. */
class Agenda {
  readonly #heap: (Expected & { readonly order: number })[] = [];
  #pushed = 0;

  push(entry: Expected): void {
    const heap = this.#heap;
    const added = { ...entry, order: this.#pushed++ };
    let at = heap.length;
    heap.push(added);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(added, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = added;
  }

  pop(): Expected | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(
  a: { readonly atMs: number; readonly order: number },
  b: { readonly atMs: number; readonly order: number },
): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
