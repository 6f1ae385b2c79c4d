import type { Program } from "../../program/program.js";
import { spanKind } from "../../program/span-kind.js";
import type { Timeline, TimelineSpan } from "../../program/timeline.js";
import type { RankStep } from "./worker-pool.js";

/** What the executor measured of one step, in the simulator's form. Each rank's clock starts with its step. */
export function measuredTimeline(programs: readonly Program[], ranks: readonly RankStep[]): Timeline {
  const spans: TimelineSpan[] = ranks.flatMap((step, rank) =>
    programs[rank]!.instructions.map((instruction, index) => ({
      rank,
      stream: instruction.stream,
      instruction: index,
      kind: spanKind(instruction),
      label: instruction.label,
      startMs: step.instructionsMs[2 * index]!,
      endMs: step.instructionsMs[2 * index + 1]!,
    })),
  );
  return {
    source: "measured",
    ranks: ranks.length,
    stepMs: Math.max(...ranks.map((rank) => rank.stepMs)),
    spans,
  };
}
