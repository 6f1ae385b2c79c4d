import { expect, it } from "vitest";
import { chromeTrace } from "../../src/display/chrome-trace.js";
import type { Timeline } from "../../src/program/timeline.js";

it("gives every rank a process, every stream a thread, and times in microseconds", () => {
  const timeline: Timeline = {
    source: "measured",
    ranks: 2,
    stepMs: 3,
    spans: [
      {
        rank: 1,
        stream: "reduce",
        instruction: 4,
        kind: "data",
        label: { phase: "reduce", layer: 2 },
        startMs: 1,
        endMs: 2.5,
      },
      {
        rank: 0,
        stream: "compute",
        instruction: 0,
        kind: "compute",
        label: { phase: "forward" },
        startMs: 0,
        endMs: 1,
      },
    ],
  };
  const { traceEvents } = chromeTrace(timeline);
  expect(traceEvents.filter((e) => e.ph === "M")).toHaveLength(2 * 3);
  expect(traceEvents.find((e) => e.ph === "X" && e.pid === 1)).toEqual({
    name: "data communication",
    cat: "reduce",
    ph: "X",
    pid: 1,
    tid: 1,
    ts: 1000,
    dur: 1500,
    args: { phase: "reduce", instruction: 4, layer: 2 },
  });
});
