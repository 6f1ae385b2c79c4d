import { describe, expect, it } from "vitest";
import { htmlTable } from "../../src/display/html-table.js";
import { plotBundle } from "../../src/display/plot-bundle.js";
import { compareOutputs } from "../../src/notebook/compare-outputs.js";
import type { CellOutput, Notebook } from "../../src/notebook/notebook-json.js";

const notebook = (outputs: CellOutput[], metadata: Record<string, unknown> = {}): Notebook => ({
  metadata: {},
  cells: [{ kind: "code", id: "c", source: "x", metadata, executionCount: 1, outputs }],
});
const stream = (text: string): CellOutput => ({ kind: "stream", name: "stdout", text });
const value = (data: Record<string, unknown>): CellOutput => ({ kind: "display", data, metadata: {} });
const PLOTLY = "application/vnd.plotly.v1+json";
const MEASURED = { tags: ["measured"] };

describe("outputs compared", () => {
  it("are the same when they are the same", () => {
    const one = notebook([stream("a 1\n"), value({ "text/plain": "x", "application/json": { a: [1] } })]);
    expect(compareOutputs(one, one)).toEqual([]);
  });

  it("tell the first line that differs", () => {
    const changes = compareOutputs(notebook([stream("a\nb 1\nc")]), notebook([stream("a\nb 2\nc")]));
    expect(changes).toEqual([
      { cellId: "c", number: 1, what: "output 1: stdout", stored: "b 1", now: "b 2" },
    ]);
  });

  it("tell of outputs that came or went", () => {
    const [change] = compareOutputs(notebook([stream("a")]), notebook([stream("a"), value({})]));
    expect(change).toMatchObject({
      what: "the number of outputs",
      stored: "1: stream",
      now: "2: stream, display",
    });
  });

  it("may differ in measured numbers within a factor, and in nothing else", () => {
    const stored = notebook([stream("took   1.50 ms\n────")], MEASURED);
    expect(compareOutputs(stored, notebook([stream("took 13.0 ms\n──")]))).not.toEqual([]);
    expect(compareOutputs(stored, notebook([stream("took 3.1 ms\n──────")]))).toEqual([]);
    expect(compareOutputs(stored, notebook([stream("lost 1.50 ms\n────")]))).not.toEqual([]);
    expect(compareOutputs(stored, notebook([stream("took -1.50 ms\n────")]))).not.toEqual([]);
  });

  it("take the factor that the author gave", () => {
    const tight = { ...MEASURED, galvatron: { factor: 1.1 } };
    expect(compareOutputs(notebook([stream("10")], tight), notebook([stream("10.5")]))).toEqual([]);
    expect(compareOutputs(notebook([stream("10")], tight), notebook([stream("12")]))).not.toEqual([]);
  });

  it("compare a figure once, by its data, and name the place", () => {
    const figure = (y: number): CellOutput =>
      value({
        "application/vnd.plotly.v1+json": { data: [{ y: [1, y] }], layout: {} },
        "text/html": `<p>${y}</p>`,
        "image/svg+xml": `<svg>${y}</svg>`,
      });
    const changes = compareOutputs(notebook([figure(2)]), notebook([figure(5)]));
    expect(changes).toMatchObject([{ stored: "data.0.y.1 = 2", now: "data.0.y.1 = 5" }]);
    expect(compareOutputs(notebook([figure(2)], MEASURED), notebook([figure(5)]))).toEqual([]);
  });

  it("take no notice of bars and notices that come and go", () => {
    const bar = value({ "text/plain": "Profiling: done", "application/vnd.galvatron.passing+json": {} });
    expect(compareOutputs(notebook([bar, stream("a")]), notebook([stream("a")]))).toEqual([]);
    expect(compareOutputs(notebook([bar, stream("a")]), notebook([bar, stream("b")]))).not.toEqual([]);
  });

  it("compare what measuring chose by its kind alone", () => {
    const chosen = { tags: ["chosen"] };
    const plan = (text: string): CellOutput => value({ "text/plain": text, "text/html": `<p>${text}</p>` });
    expect(compareOutputs(notebook([plan("tp2")], chosen), notebook([plan("dp2, twice")]))).toEqual([]);
    expect(compareOutputs(notebook([plan("tp2")], chosen), notebook([stream("tp2")]))).not.toEqual([]);
    expect(
      compareOutputs(notebook([plan("tp2")], chosen), notebook([value({ "text/plain": "tp2" })])),
    ).not.toEqual([]);
  });

  it("compare a measured figure by the range of its series, however many points they have", () => {
    const figure = (x: number[], name = "compute"): CellOutput =>
      value({
        "application/vnd.plotly.v1+json": {
          data: [{ type: "bar", name, x, text: x.map(String) }],
          layout: { title: { text: `One step: ${x.length} ms` } },
        },
      });
    const stored = notebook([figure([1, 5])], MEASURED);
    expect(compareOutputs(stored, notebook([figure([2, 1, 6])]))).toEqual([]);
    expect(compareOutputs(stored, notebook([figure([2, 60])]))).not.toEqual([]);
    expect(compareOutputs(stored, notebook([figure([1, 5], "tensor")]))).not.toEqual([]);
    expect(compareOutputs(notebook([figure([1, 5])]), notebook([figure([1, 5, 2])]))).not.toEqual([]);
  });

  it("compare the figures inside a value's page by their data, and say which number differs", () => {
    const page = (y: number): CellOutput => {
      const plot = plotBundle({ data: [], layout: { height: y, title: { text: "T" } } }, `<svg>${y}</svg>`);
      return value({ "text/html": `<pre>words</pre>${String(plot["text/html"])}`, "text/plain": "words" });
    };
    expect(compareOutputs(notebook([page(1)]), notebook([page(1)]))).toEqual([]);
    expect(compareOutputs(notebook([page(1)]), notebook([page(2)]))).toMatchObject([
      { stored: "layout.height = 1", now: "layout.height = 2" },
    ]);
  });

  it("let a difference of measurements have either sign", () => {
    const stored = notebook([stream("step (+3.1 %) took 4 ms")], MEASURED);
    expect(compareOutputs(stored, notebook([stream("step (−12.5 %) took 5 ms")]))).toEqual([]);
    expect(compareOutputs(stored, notebook([stream("step (−12.5 %) took 50 ms")]))).not.toEqual([]);
  });

  it.each([
    // [held, now within the range, now outside of it]
    ["took 98 ms", "took 0.7 s", "took 0.8 s"],
    ["peak 132 MB", "peak 0.19 GB", "peak 0.2 GB"],
    ["9,158 tokens/s", "12,003 tokens/s", "912 tokens/s"],
    ["loss 5.4896 → 2.3789", "loss 5.4896 → 2.6", "loss 5.4896 → 2.7"],
    ["step 200 of 200, loss 2.379", "step 200 of 200, loss 2.5", "step 199 of 200, loss 2.379"],
    ["finished after 200 steps", "finished  after 200 steps", "finished after 100 steps"],
  ])("%s may be %s, not %s", (held, near, far) => {
    expect(compareOutputs(notebook([stream(held)], MEASURED), notebook([stream(near)]))).toEqual([]);
    expect(compareOutputs(notebook([stream(held)], MEASURED), notebook([stream(far)]))).toHaveLength(1);
  });

  it("take ranges by quantity, and refuse what is none before anything runs", () => {
    const own = (factor: unknown): Record<string, unknown> => ({ ...MEASURED, galvatron: { factor } });
    const held = notebook([stream("10 ms, 10 MB")], own({ time: 2 }));
    expect(compareOutputs(held, notebook([stream("15 ms, 14 MB")]))).toEqual([]);
    expect(compareOutputs(held, notebook([stream("25 ms, 14 MB")]))).toHaveLength(1);
    expect(compareOutputs(held, notebook([stream("15 ms, 16 MB")]))).toHaveLength(1);
    for (const factor of [0.5, "3", null, { speed: 2 }, { time: "2" }])
      expect(() => compareOutputs(notebook([stream("1")], own(factor)), notebook([stream("1")]))).toThrow(
        /expected metadata.galvatron.factor/,
      );
  });

  it("list every measured number that left its range, with what stands beside it", () => {
    const stored = notebook([stream("forward 10 ms\nbackward 20 ms\nloss 3\n")], MEASURED);
    const changes = compareOutputs(stored, notebook([stream("forward 99 ms\nbackward 21 ms\nloss 4\n")]));
    expect(changes).toEqual([
      {
        cellId: "c",
        number: 1,
        what: "output 1: stdout, time",
        stored: "forward 10 ms",
        now: "forward 99 ms (9.9 times, 8 allowed either way)",
      },
      expect.objectContaining({ what: "output 1: stdout, loss", stored: "loss 3" }),
    ]);
  });

  it("read tables by their columns and rows", () => {
    const table = (...rows: [string, number, number][]): CellOutput =>
      value({ "text/html": htmlTable(["plan", "measuredMs", "peakMB"], rows), "text/plain": "a table" });
    const stored = notebook([table(["tp2", 10, 100], ["dp2", 20, 110])], MEASURED);
    expect(compareOutputs(stored, notebook([table(["tp2", 50, 140], ["dp2", 20, 110])]))).toEqual([]);
    expect(compareOutputs(stored, notebook([table(["tp2", 10, 100], ["dp2", 20, 200])]))).toMatchObject([
      { what: "output 1: text/html, memory", stored: "dp2 peakMB 110" },
    ]);
    expect(compareOutputs(stored, notebook([table(["tp2", 10, 100], ["zero", 20, 110])]))).toHaveLength(1);
    const report = (loss: string): CellOutput =>
      value({ "text/html": htmlTable(["", "predicted", "measured"], [["loss", "", loss]]) });
    expect(
      compareOutputs(notebook([report("5.5 → 2.4")], MEASURED), notebook([report("5.5 → 3")])),
    ).toMatchObject([{ what: "output 1: text/html, loss" }]);
  });

  it("compare a measured figure by the axes that its series lie on, and bars by where they end", () => {
    const figure = (memory: number, start: number): CellOutput =>
      value({
        [PLOTLY]: {
          data: [
            { type: "scatter", name: "memory", x: [0, 9], y: [memory, memory], yaxis: "y2" },
            { type: "bar", orientation: "h", name: "compute", base: [start], x: [1], y: [0] },
          ],
          layout: {
            xaxis: { title: { text: "ms per step" } },
            yaxis2: { title: { text: "MB, fullest rank" } },
          },
        },
      });
    const stored = notebook([figure(100, 10)], MEASURED);
    expect(compareOutputs(stored, notebook([figure(140, 50)]))).toEqual([]);
    expect(compareOutputs(stored, notebook([figure(160, 10)]))).toMatchObject([
      { what: "output 1: a figure, memory" },
    ]);
    expect(compareOutputs(stored, notebook([figure(100, 90)]))).toMatchObject([
      { what: "output 1: a figure, time" },
    ]);
  });

  it("take no notice of series of a measured figure that can hardly be seen, unless they grow", () => {
    const figure = (data: number): CellOutput =>
      value({
        [PLOTLY]: {
          data: [
            { type: "bar", orientation: "h", name: "compute", x: [50], y: ["stage 0"] },
            { type: "bar", orientation: "h", name: "data", x: [data], y: ["stage 0"] },
          ],
        },
      });
    const stored = notebook([figure(0.3)], MEASURED);
    expect(compareOutputs(stored, notebook([figure(0.03)]))).toEqual([]);
    expect(compareOutputs(stored, notebook([figure(20)]))).toHaveLength(1);
  });
});
