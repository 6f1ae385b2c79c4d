import { GalvatronError } from "../base/errors.js";
import type { Overlap } from "../cluster/hardware-profile.js";
import { type ExecutionOrder, executionOrder } from "./execution-order.js";
import type { Program } from "./program.js";
import { findRendezvous, type Rendezvous } from "./rendezvous.js";
import { simulateOverlap } from "./simulate-overlap.js";
import { spanKind } from "./span-kind.js";
import { STREAMS, streamIndex } from "./streams.js";
import type { Timeline, TimelineSpan } from "./timeline.js";

/** Time of one instruction that has the rank to itself, in ms. */
export type DurationOf = (program: Program, instruction: number) => number;

export interface SimulateOptions {
  /**
   * How much computing and communication slow each other down while both run on a rank; what computes on several streams at
   * once then shares the device. Left out: nothing slows anything down.
   */
  readonly overlap?: Overlap;
}

/** When every instruction starts and ends: `[start0, end0, start1, end1, …]` in ms, by rank. */
export interface SimulatedTimes {
  readonly stepMs: number;
  readonly times: readonly Float64Array[];
}

/**
 * Plays one step: every stream in order, every wait kept; collectives start when all members have come and last as
 * long as the slowest says, transfers likewise.
 *
 * @throws {GalvatronError} PROGRAM_INVALID when the programs deadlock.
 */
export function simulateTimes(
  programs: readonly Program[],
  duration: DurationOf,
  options: SimulateOptions = {},
): SimulatedTimes {
  const rendezvous = findRendezvous(programs);
  const { overlap } = options;
  if (overlap !== undefined) return simulateOverlap(programs, rendezvous, duration, overlap);
  const execution = executionOrder(programs, rendezvous);
  requireComplete(programs, execution);
  return replay(programs, rendezvous, execution, duration);
}

/** {@link simulateTimes} as spans, for figures and tables. */
export function simulate(
  programs: readonly Program[],
  duration: DurationOf,
  options: SimulateOptions = {},
): Timeline {
  const { stepMs, times } = simulateTimes(programs, duration, options);
  const spans: TimelineSpan[] = [];
  for (const [position, program] of programs.entries()) {
    for (const [index, instruction] of program.instructions.entries()) {
      spans.push({
        rank: program.rank,
        stream: instruction.stream,
        instruction: index,
        kind: spanKind(instruction),
        label: instruction.label,
        startMs: times[position]![2 * index]!,
        endMs: times[position]![2 * index + 1]!,
      });
    }
  }
  return { source: "predicted", ranks: programs.length, stepMs, spans };
}

/** @throws {GalvatronError} PROGRAM_INVALID when the programs wait for each other for ever. */
function requireComplete(programs: readonly Program[], execution: ExecutionOrder): void {
  const first = execution.stuck[0];
  if (first === undefined) return;
  const [rank, index] = first;
  const { op } = programs[rank]!.instructions[index]!;
  throw new GalvatronError(
    "PROGRAM_INVALID",
    `The programs deadlock: rank ${rank} never gets past instruction ${index} (${op}).`,
    { rank, instruction: index },
  );
}

/** Without mutual slowdown, times follow from one pass in any order that the streams can run in. */
function replay(
  programs: readonly Program[],
  rendezvous: Rendezvous,
  execution: ExecutionOrder,
  duration: DurationOf,
): SimulatedTimes {
  const times = programs.map(({ instructions }) => new Float64Array(2 * instructions.length));
  const free = programs.map(() => new Float64Array(STREAMS.length));
  let stepMs = 0;
  const { order, completed } = execution;
  for (let at = 0; at < completed; ) {
    const meeting = rendezvous.meetingOf[order[2 * at]!]![order[2 * at + 1]!]!;
    const count = meeting < 0 ? 1 : rendezvous.expected[meeting]!;
    let start = 0;
    let lasts = 0;
    for (let member = at; member < at + count; member++) {
      const rank = order[2 * member]!;
      const index = order[2 * member + 1]!;
      const { stream, waits } = programs[rank]!.instructions[index]!;
      start = Math.max(start, free[rank]![streamIndex(stream)]!);
      for (const wait of waits) start = Math.max(start, times[rank]![2 * wait + 1]!);
      lasts = Math.max(lasts, duration(programs[rank]!, index));
    }
    const end = start + lasts;
    for (let member = at; member < at + count; member++) {
      const rank = order[2 * member]!;
      const index = order[2 * member + 1]!;
      times[rank]![2 * index] = start;
      times[rank]![2 * index + 1] = end;
      free[rank]![streamIndex(programs[rank]!.instructions[index]!.stream)] = end;
    }
    if (end > stepMs) stepMs = end;
    at += count;
  }
  return { stepMs, times };
}
