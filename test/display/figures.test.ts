import { describe, expect, it } from "vitest";
import { BYTES_PER_MB } from "../../src/base/units.js";
import type { Prediction, StageMemory, StageTime } from "../../src/cost/prediction.js";
import { costFigure } from "../../src/display/cost-figure.js";
import type { BarTrace } from "../../src/display/figure.js";
import { htmlTable, textTable } from "../../src/display/html-table.js";
import { memoryFigure } from "../../src/display/memory-figure.js";
import { strategyFigure } from "../../src/display/strategy-figure.js";
import { figureToSvg } from "../../src/display/svg.js";
import { timelineFigure } from "../../src/display/timeline-figure.js";
import { type TrainingExpectation, trainingFigure } from "../../src/display/training-figure.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import type { Strategy } from "../../src/plan/strategy.js";
import type { Timeline, TimelineSpan } from "../../src/program/timeline.js";

const time: StageTime = {
  computeMs: 100,
  recomputeMs: 0,
  tensorMs: 15,
  dataMs: 30,
  relayoutMs: 0,
  pipelineMs: 5,
  optimizerMs: 12,
  bubbleMs: 40,
};
const memory: StageMemory = {
  parameterBytes: 100 * BYTES_PER_MB,
  gradientBytes: 100 * BYTES_PER_MB,
  optimizerBytes: 200 * BYTES_PER_MB,
  activationBytes: 300 * BYTES_PER_MB,
  transientBytes: 40 * BYTES_PER_MB,
  workspaceBytes: 20 * BYTES_PER_MB,
  reservedBytes: 90 * BYTES_PER_MB,
  totalBytes: 850 * BYTES_PER_MB,
};
const prediction: Prediction = { stepMs: 202, samplesPerSecond: 40, stages: [{ time, memory }] };

const data = (degree: number, dataParallel: Strategy["dataParallel"]): Strategy => ({
  tensorDegree: 1,
  tensorSplit: "weights",
  dataDegree: degree,
  dataParallel,
  recompute: false,
  placement: "consecutive",
});
const plan: Plan = {
  ranks: 4,
  globalBatch: 8,
  microBatches: 2,
  schedule: "1f1b",
  precision: "float32",
  stageLayers: [3, 2],
  layers: [data(2, "ddp"), data(2, "ddp"), data(2, "zero3"), data(2, "zero3"), data(2, "ddp")],
  vocabulary: data(2, "ddp"),
};
const gpt = { name: "gpt", layers: Array<string>(5).fill("decoder") } as unknown as ModelSpec;

const expected: TrainingExpectation = {
  steps: 10,
  samplesPerStep: 8,
  tokensPerStep: 1024,
  predictedStepMs: 200,
  predictedMemoryBytes: 850 * BYTES_PER_MB,
  budgetBytes: 900 * BYTES_PER_MB,
  flopsPerStep: 1e9,
  peakFlops: 1e11,
};

function bars(traces: readonly { type: string }[]): BarTrace[] {
  return traces.filter((t): t is BarTrace => t.type === "bar");
}

describe("figures", () => {
  it("stack every term of a stage to the step's time, and leave out terms that are zero", () => {
    const figure = costFigure(prediction);
    const total = bars(figure.data).reduce((sum, trace) => sum + Number(trace.x[0]), 0);
    expect(total).toBeCloseTo(202, 9);
    expect(figure.data.map((t) => t.name)).not.toContain("recompute");
  });

  it("stack every category of memory to the stage's total and put the budget where it is", () => {
    const figure = memoryFigure(prediction, 900 * BYTES_PER_MB, [860 * BYTES_PER_MB]);
    const total = bars(figure.data).reduce((sum, trace) => sum + Number(trace.x[0]), 0);
    expect(total).toBeCloseTo(850, 9);
    expect(figure.layout.shapes?.[0]?.x0).toBe(900);
    expect(figure.data.at(-1)).toMatchObject({ name: "measured peak", x: [860], y: ["stage 0"] });
  });

  it("put every layer once on its stage, embedding first and head last", () => {
    const figure = strategyFigure(gpt, plan);
    const cells = bars(figure.data).flatMap((trace) =>
      trace.base!.map((base, i) => ({ base, stage: trace.y[i], name: trace.name })),
    );
    cells.sort((a, b) => a.base - b.base);
    expect(cells.map((c) => c.base)).toEqual([-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5]);
    expect(cells.map((c) => c.stage)).toEqual([
      ...Array(4).fill("stage 0 · ranks 0–1"),
      ...Array(3).fill("stage 1 · ranks 2–3"),
    ]);
    expect(new Set(cells.map((c) => c.name)).size).toBe(2);
  });

  it("draw predicted above measured, with one legend entry per kind", () => {
    const span = (rank: number, startMs: number, kind: TimelineSpan["kind"]): TimelineSpan => ({
      rank,
      stream: "compute",
      instruction: 0,
      kind,
      label: { phase: "forward", layer: 1, microBatch: 0 },
      startMs,
      endMs: startMs + 5,
    });
    const timeline = (source: Timeline["source"]): Timeline => ({
      source,
      ranks: 2,
      stepMs: 30,
      spans: [span(0, 0, "compute"), span(1, 5, "compute"), span(0, 10, "tensor")],
    });
    const figure = timelineFigure([timeline("predicted"), timeline("measured")]);
    expect(figure.data.filter((t) => t.showlegend).map((t) => t.name)).toEqual([
      "compute",
      "tensor communication",
      "bubble (waiting)",
    ]);
    const [upper, lower] = [figure.layout.yaxis!.domain!, figure.layout.yaxis2!.domain!];
    expect(upper[0]).toBeGreaterThan(lower[1]);
  });

  it("stay small however many instructions a step has, and lose no busy time beyond a pixel", () => {
    const spans = Array.from(
      { length: 20_000 },
      (_, i): TimelineSpan => ({
        rank: i % 4,
        stream: "compute",
        instruction: i,
        kind: "compute",
        label: { phase: "forward", layer: i % 24, microBatch: 0 },
        startMs: Math.floor(i / 4),
        endMs: Math.floor(i / 4) + 0.9,
      }),
    );
    const figure = timelineFigure([{ source: "predicted", ranks: 4, stepMs: 5000, spans }]);
    expect(JSON.stringify(figure).length).toBeLessThan(200_000);
    const busy = bars(figure.data).reduce(
      (sum, t) => sum + t.x.reduce((a: number, b) => a + Number(b), 0),
      0,
    );
    expect(busy / (4 * 5000)).toBeGreaterThan(0.89);
  });

  it("show a run before its first step", () => {
    expect(figureToSvg(trainingFigure([], expected))).toContain("starting");
  });
});

describe("figureToSvg", () => {
  it("is the same for the same figure, small, and has a rectangle per bar", () => {
    const figure = costFigure(prediction);
    const svg = figureToSvg(figure);
    expect(figureToSvg(figure)).toBe(svg);
    expect(svg.length).toBeLessThan(8_000);
    const legend = figure.data.length;
    expect(svg.match(/<rect /g)?.length).toBe(figure.data.length + legend);
    expect(svg).not.toContain("NaN");
  });

  it("escapes what users name", () => {
    const svg = figureToSvg(strategyFigure({ ...gpt, name: '<script>alert("x")</script>' }, plan));
    expect(svg).not.toContain("<script>");
    expect(svg).toContain("&lt;script&gt;");
  });
});

describe("tables", () => {
  it("escape cells and say how many rows are not shown", () => {
    const rows = Array.from({ length: 40 }, (_, i) => [i, "<b>"]);
    const html = htmlTable(["n", "text"], rows);
    expect(html).not.toContain("<b>");
    expect(html).toContain("10 more rows");
    expect(textTable(["n", "text"], rows).split("\n")).toHaveLength(33);
  });
});
