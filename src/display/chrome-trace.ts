import type { Timeline } from "../program/timeline.js";
import { TIME_LABELS } from "./palette.js";

/** One entry of the Trace Event Format, which Perfetto and chrome://tracing read. Times in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly cat?: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: Readonly<Record<string, string | number>>;
}

/**
 * Timelines of one plan as a trace file's content: a process per rank and timeline, a thread per stream.
 *
 * Google, "Trace Event Format" (2016).
 */
export function chromeTrace(...timelines: readonly Timeline[]): {
  readonly traceEvents: readonly TraceEvent[];
} {
  let firstProcess = 0;
  const traceEvents = timelines.flatMap((timeline) => {
    const events = timelineEvents(timeline, firstProcess);
    firstProcess += timeline.ranks;
    return events;
  });
  return { traceEvents };
}

function timelineEvents(timeline: Timeline, firstProcess: number): TraceEvent[] {
  const streams = [...new Set(timeline.spans.map((span) => span.stream))].sort();
  const names = Array.from({ length: timeline.ranks }, (_, rank): TraceEvent[] => {
    const pid = firstProcess + rank;
    return [
      { name: "process_name", ph: "M", pid, tid: 0, args: { name: `rank ${rank} (${timeline.source})` } },
      ...streams.map(
        (stream, tid): TraceEvent => ({ name: "thread_name", ph: "M", pid, tid, args: { name: stream } }),
      ),
    ];
  });
  const spans = timeline.spans.map(
    (span): TraceEvent => ({
      name: TIME_LABELS[span.kind],
      cat: span.label.phase,
      ph: "X",
      pid: firstProcess + span.rank,
      tid: streams.indexOf(span.stream),
      ts: span.startMs * 1000,
      dur: (span.endMs - span.startMs) * 1000,
      args: {
        phase: span.label.phase,
        instruction: span.instruction,
        ...(span.label.layer !== undefined && { layer: span.label.layer }),
        ...(span.label.microBatch !== undefined && { microBatch: span.label.microBatch }),
      },
    }),
  );
  return [...names.flat(), ...spans];
}
