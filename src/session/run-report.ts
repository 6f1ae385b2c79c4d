import { memoryText } from "../base/memory-size.js";
import { htmlTable, textTable } from "../display/html-table.js";
import { DISPLAY, type Displayable, type MimeBundle } from "../display/mime.js";
import { median } from "../profiler/median.js";
import type { Evaluation, StepRecord } from "../program/step-record.js";
import type { PlanHandle } from "./plan-handle.js";

/** What a training came to, beside what was predicted. */
export interface RunReport extends Displayable {
  readonly outcome: "finished" | "stopped";
  readonly steps: number;
  readonly firstLoss: number;
  readonly lastLoss: number;
  /** The last evaluation on held-out samples; null where there was none. */
  readonly evaluation: Evaluation | null;
  /** Median of the slowest rank's step, the first steps left out. */
  readonly stepMs: number;
  readonly predictedStepMs: number;
  readonly tokensPerSecond: number;
  /** By rank, as the operating system counts them. */
  readonly peakMemoryBytes: readonly number[];
  /** Fullest rank of each stage. */
  readonly peakByStage: readonly number[];
  readonly predictedMemoryBytes: readonly number[];
  readonly budgetBytes: number;
  readonly text: string;
}

/** Steps in which caches and allocators find their size. */
const WARMUP_STEPS = 2;

export function runReport(
  plan: PlanHandle,
  records: readonly StepRecord[],
  evaluations: readonly Evaluation[],
  outcome: "finished" | "stopped",
): RunReport {
  const { ranks, stageLayers } = plan.data;
  const rows = records.filter((record) => record.rank === 0);
  const first = (rows[0]?.step ?? 0) + Math.min(WARMUP_STEPS, rows.length - 1);
  // While the batch grows, steps are shorter than the predicted one.
  const samples = Math.max(...rows.map((record) => record.samples));
  const settled = records.filter((record) => record.step >= first && record.samples === samples);
  const slowest = new Map<number, number>();
  for (const { step, stepMs } of settled) slowest.set(step, Math.max(slowest.get(step) ?? 0, stepMs));
  const peakMemoryBytes = Array.from({ length: ranks }, (_, rank) =>
    records.reduce(
      (peak, record) => (record.rank === rank ? Math.max(peak, record.peakMemoryBytes) : peak),
      0,
    ),
  );
  const perStage = ranks / stageLayers.length;
  const numbers = {
    outcome,
    steps: rows.length,
    firstLoss: rows[0]?.loss ?? Number.NaN,
    lastLoss: rows.at(-1)?.loss ?? Number.NaN,
    evaluation: evaluations.at(-1) ?? null,
    stepMs: slowest.size > 0 ? median([...slowest.values()]) : Number.NaN,
    predictedStepMs: plan.prediction.stepMs,
    tokensPerSecond:
      settled.length > 0 ? median(settled.map((record) => record.tokensPerSecond)) : Number.NaN,
    peakMemoryBytes,
    peakByStage: stageLayers.map((_, stage) =>
      Math.max(...peakMemoryBytes.slice(stage * perStage, (stage + 1) * perStage)),
    ),
    predictedMemoryBytes: plan.memoryBytesByRank(),
    budgetBytes: plan.report.budgetBytes,
  };
  const rowsOfTable: (readonly [string, string, string])[] = [
    ["loss", "", `${numbers.firstLoss.toFixed(4)} → ${numbers.lastLoss.toFixed(4)}`],
    ...evaluationRows(numbers.evaluation),
    ["step", `${numbers.predictedStepMs.toFixed(1)} ms`, `${numbers.stepMs.toFixed(1)} ms`],
    ["tokens/s", "", numbers.tokensPerSecond.toFixed(0)],
    ...peakMemoryBytes.map(
      (bytes, rank) =>
        [
          `memory of rank ${rank}`,
          memoryText(numbers.predictedMemoryBytes[rank]!),
          memoryText(bytes),
        ] as const,
    ),
    ["budget of a rank", memoryText(numbers.budgetBytes), ""],
  ];
  const columns = [`${outcome} after ${numbers.steps} steps`, "predicted", "measured"];
  const text = textTable(columns, rowsOfTable);
  return {
    ...numbers,
    text,
    [DISPLAY]: (): MimeBundle => ({ "text/html": htmlTable(columns, rowsOfTable), "text/plain": text }),
  };
}

function evaluationRows(evaluation: Evaluation | null): readonly (readonly [string, string, string])[] {
  if (!evaluation) return [];
  const { loss, accuracy, samples } = evaluation;
  return [
    [`held-out loss (${samples} samples)`, "", loss.toFixed(4)],
    ...(accuracy === null ? [] : [["held-out accuracy", "", `${(100 * accuracy).toFixed(2)} %`] as const]),
  ];
}
