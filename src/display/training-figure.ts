import { BYTES_PER_MB } from "../base/units.js";
import type { StepRecord } from "../program/step-record.js";
import { axis, baseLayout, type Figure, type ScatterTrace } from "./figure.js";

/** Points of a curve beyond which only every n-th is drawn. */
const MAX_POINTS = 200;

/** What a run is drawn against. */
export interface TrainingExpectation {
  /** Steps that were asked for. */
  readonly steps: number;
  readonly samplesPerStep: number;
  readonly tokensPerStep: number;
  readonly predictedStepMs: number;
  /** Fullest rank. */
  readonly predictedMemoryBytes: number;
  readonly budgetBytes: number;
  /** Operations of forward and backward over one step, without what recompute repeats. */
  readonly flopsPerStep: number;
  /** Operations per second that all ranks reach together in their fastest matrix product; 0 where none was measured. */
  readonly peakFlops: number;
  readonly title?: string;
}

/** A budget that is hardly used is not drawn: it would press the curve to the ground. */
const NEAR_BUDGET = 0.2;

const BUDGET = { color: "#D55E00", width: 2, dash: "dot" } as const;
const BLUE = "#0072B2";
const EXPECTED = { color: "#767676", width: 1.5, dash: "dash" } as const;

/**
 * A run while it trains, in four panes: loss; tokens per second; MFU, the share of the machine's fastest matrix
 * product that the model's own operations reach; memory of the fullest rank against its prediction and the budget.
 */
export function trainingFigure(records: readonly StepRecord[], expected: TrainingExpectation): Figure {
  const own = thin(records.filter((r) => r.rank === 0));
  const steps = own.map((r) => r.step);
  const peaks = fullestByStep(records);
  const line = (pane: Pane, name: string, y: readonly number[], digits = 4): ScatterTrace => ({
    type: "scatter",
    mode: "lines",
    name,
    showlegend: false,
    xaxis: `x${pane}`,
    yaxis: `y${pane}`,
    x: steps,
    y: y.map((value) => Number(value.toPrecision(digits))),
    line: { color: BLUE, width: 2 },
  });
  const level = (
    pane: Pane,
    name: string,
    y: number,
    look: ScatterTrace["line"] = EXPECTED,
  ): ScatterTrace => ({
    type: "scatter",
    mode: "lines",
    name,
    legendgroup: name,
    showlegend: pane === "2" || name !== "predicted",
    xaxis: `x${pane}`,
    yaxis: `y${pane}`,
    x: [0, Math.max(1, expected.steps - 1)],
    y: [Number(y.toPrecision(4)), Number(y.toPrecision(4))],
    line: look!,
  });
  const mfu = (stepMs: number, samples: number): number =>
    (100 * expected.flopsPerStep * samples) / expected.samplesPerStep / (stepMs / 1000) / expected.peakFlops;
  const data = [
    line(
      "",
      "loss",
      own.map((r) => r.loss),
      5,
    ),
    line(
      "2",
      "tokens per second",
      own.map((r) => r.tokensPerSecond),
    ),
    level("2", "predicted", (expected.tokensPerStep * 1000) / expected.predictedStepMs),
    ...(expected.peakFlops > 0
      ? [
          line(
            "3",
            "MFU",
            own.map((r) => mfu(r.stepMs, r.samples)),
          ),
          level("3", "predicted", mfu(expected.predictedStepMs, expected.samplesPerStep)),
        ]
      : []),
    line(
      "4",
      "memory",
      own.map((r) => (peaks.get(r.step) ?? r.memoryBytes) / BYTES_PER_MB),
    ),
    level("4", "predicted", expected.predictedMemoryBytes / BYTES_PER_MB),
    ...(expected.predictedMemoryBytes > NEAR_BUDGET * expected.budgetBytes
      ? [level("4", "budget", expected.budgetBytes / BYTES_PER_MB, BUDGET)]
      : []),
  ];
  const last = own.at(-1);
  const state = last
    ? `step ${last.step + 1} of ${expected.steps}, loss ${last.loss.toFixed(3)}, ${Math.round(last.tokensPerSecond).toLocaleString("en-US")} tokens/s`
    : "starting";
  const upper = [0.6, 1] as const;
  const lower = [0, 0.4] as const;
  const left = [0, 0.44] as const;
  const right = [0.56, 1] as const;
  const range = [0, Math.max(1, expected.steps - 1)] as const;
  return {
    data,
    layout: {
      ...baseLayout(`${expected.title ?? "Training"}: ${state}`, 480),
      showlegend: true,
      xaxis: axis("", { domain: left, range, anchor: "y" }),
      yaxis: axis("loss", { domain: upper, anchor: "x" }),
      xaxis2: axis("", { domain: right, range, anchor: "y2" }),
      yaxis2: axis("tokens/s", { domain: upper, rangemode: "tozero", anchor: "x2" }),
      xaxis3: axis("step", { domain: left, range, anchor: "y3" }),
      yaxis3: axis("MFU, %", { domain: lower, rangemode: "tozero", anchor: "x3" }),
      xaxis4: axis("step", { domain: right, range, anchor: "y4" }),
      yaxis4: axis("MB, fullest rank", { domain: lower, rangemode: "tozero", anchor: "x4" }),
    },
  };
}

type Pane = "" | "2" | "3" | "4";

function fullestByStep(records: readonly StepRecord[]): ReadonlyMap<number, number> {
  const peaks = new Map<number, number>();
  for (const { step, memoryBytes } of records) peaks.set(step, Math.max(peaks.get(step) ?? 0, memoryBytes));
  return peaks;
}

function thin(records: readonly StepRecord[]): readonly StepRecord[] {
  const every = Math.ceil(records.length / MAX_POINTS);
  return every <= 1 ? records : records.filter((_, i) => i % every === 0 || i === records.length - 1);
}
