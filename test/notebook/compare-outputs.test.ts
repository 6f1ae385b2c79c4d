import { describe, expect, it } from "vitest";
import { compareOutputs } from "../../src/notebook/compare-outputs.js";
import type { CellOutput, Notebook } from "../../src/notebook/notebook-json.js";

const notebook = (outputs: CellOutput[], metadata: Record<string, unknown> = {}): Notebook => ({
  metadata: {},
  cells: [{ kind: "code", id: "c", source: "x", metadata, executionCount: 1, outputs }],
});
const stream = (text: string): CellOutput => ({ kind: "stream", name: "stdout", text });
const value = (data: Record<string, unknown>): CellOutput => ({ kind: "display", data, metadata: {} });
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
    expect(compareOutputs(stored, notebook([stream("took 12.0 ms\n──")]))).not.toEqual([]);
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
});
