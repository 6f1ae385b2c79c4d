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
 * A timeline as a trace file's content: a process per rank, a thread per stream.
 *
 * Google, "Trace Event Format" (2016).
 */
export function chromeTrace(timeline: Timeline): { readonly traceEvents: readonly TraceEvent[] } {
  const streams = [...new Set(timeline.spans.map((span) => span.stream))].sort();
  const names = Array.from({ length: timeline.ranks }, (_, rank): TraceEvent[] => [
    { name: "process_name", ph: "M", pid: rank, tid: 0, args: { name: `rank ${rank} (${timeline.source})` } },
    ...streams.map(
      (stream, tid): TraceEvent => ({ name: "thread_name", ph: "M", pid: rank, tid, args: { name: stream } }),
    ),
  ]);
  const spans = timeline.spans.map(
    (span): TraceEvent => ({
      name: TIME_LABELS[span.kind],
      cat: span.label.phase,
      ph: "X",
      pid: span.rank,
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
  return { traceEvents: [...names.flat(), ...spans] };
}
