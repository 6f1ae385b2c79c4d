import { describe, expect, it } from "vitest";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { modelSpec } from "../../src/families/registry.js";
import { GraphBuilder } from "../../src/graph/graph-builder.js";
import { verifyGraph, verifyLayerGraphs } from "../../src/graph/verify-graph.js";
import { ONE_RANK } from "./simulate-layer.js";

const model = modelSpec("gpt", { layers: 2, hidden: 16, heads: 4, sequence: 8, vocabulary: 11 });

function layer(kind: string, tensorDegree: number, tensorSplit: "weights" | "sequence") {
  const strategy = { ...ONE_RANK, tensorDegree, tensorSplit };
  return layerGraphs(model, { kind, strategy, samples: 2, precision: "float32", lossTokens: 16 });
}

describe("verifyGraph", () => {
  it("finds nodes that read too early and outputs of the wrong shape", () => {
    const g = new GraphBuilder();
    const [a, b] = [g.input("float32", [2, 3]), g.input("float32", [2, 3])];
    g.softmax(g.add(a, b));
    expect(verifyGraph(g.nodes, [a, b])).toEqual([]);
    expect(verifyGraph([...g.nodes].reverse(), [a, b]).join()).toMatch(/reads input 0 before it is made/);
    expect(verifyGraph(g.nodes, [a]).join()).toMatch(/reads input 1 before/);
    const add = g.nodes[0]!;
    const wrong = { ...add, outputs: [{ ...add.outputs[0]!, shape: [3, 2] }] };
    expect(verifyGraph([wrong], [a, b]).join()).toMatch(/is float32\[3,2\], not float32\[2,3\]/);
  });

  it("refuses shapes that do not fit while a graph is built", () => {
    const g = new GraphBuilder();
    const [a, b] = [g.input("float32", [2, 3]), g.input("float32", [2, 4])];
    expect(() => g.add(a, b)).toThrow(/Add\(float32\[2,3\], float32\[2,4\]\).*do not broadcast/);
    expect(() => g.linear(a, b, null)).toThrow(/Linear/);
    expect(() => g.add(a, g.input("float64", [2, 3]))).toThrow(/differ/);
    expect(() => g.reduceScatter(g.input("float32", [3, 2]), 2)).toThrow(/does not divide/);
  });
});

describe("verifyLayerGraphs", () => {
  it.each([
    ["embedding", 1, "weights"],
    ["decoder", 1, "weights"],
    ["head", 1, "weights"],
    ["embedding", 2, "weights"],
    ["decoder", 2, "weights"],
    ["head", 4, "weights"],
    ["embedding", 2, "sequence"],
    ["decoder", 4, "sequence"],
    ["head", 2, "sequence"],
  ] as const)("%s over %i ranks, split %s is sound", (kind, degree, split) => {
    expect(verifyLayerGraphs(layer(kind, degree, split), degree)).toEqual([]);
  });

  it("finds a step left out, a value not saved and a group of another size", () => {
    const good = layer("decoder", 2, "weights");
    const without = { ...good, forward: good.forward.filter(({ op }) => op !== "reduceScatter") };
    expect(verifyLayerGraphs(without, 2).join()).toMatch(/reads value\.\d+, which is not there/);
    const forgetful = { ...good, saved: good.saved.slice(1) };
    expect(verifyLayerGraphs(forgetful, 2).join()).toMatch(/backward step \d+ .*which is not there/);
    expect(verifyLayerGraphs(good, 4).join()).toMatch(/is float32\[[\d,]+\], not \d+/);
  });
});
