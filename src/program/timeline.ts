import type { InstructionLabel, Stream } from "./program.js";

/** What a span of time is spent on; the colour of timelines and cost figures. */
export type SpanKind = "compute" | "recompute" | "tensor" | "data" | "pipeline" | "relayout" | "optimizer";

/** One instruction, from its start to its end. */
export interface TimelineSpan {
  readonly rank: number;
  readonly stream: Stream;
  /** Index in the rank's instructions. */
  readonly instruction: number;
  readonly kind: SpanKind;
  readonly label: InstructionLabel;
  readonly startMs: number;
  readonly endMs: number;
}

/** One training step, predicted by the simulator or measured by the executor: the same instructions either way. */
export interface Timeline {
  readonly source: "predicted" | "measured";
  readonly ranks: number;
  readonly stepMs: number;
  readonly spans: readonly TimelineSpan[];
}
