import { describe, expect, it } from "vitest";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import type { LayerRequest } from "../../src/graph/layer-graphs.js";
import { ONE_RANK, randomInputs, relativeDifference, simulateLayer } from "./simulate-layer.js";
import { DROPOUT_MODELS, layerKinds, SMALL_MODELS } from "./small-models.js";

const model = SMALL_MODELS[0]!;
const request = (kind: string, tensorDegree: number, tensorSplit: "weights" | "sequence"): LayerRequest => ({
  kind,
  strategy: { ...ONE_RANK, tensorDegree, tensorSplit },
  samples: 3,
  precision: "float32",
  lossTokens: 24,
});

const KINDS = ["embedding", "decoder", "head"];
const GROUPS = [
  [2, "weights"],
  [4, "weights"],
  [2, "sequence"],
  [4, "sequence"],
] as const;

describe("a tensor group computes what one rank computes", () => {
  it.each(
    [...SMALL_MODELS, ...DROPOUT_MODELS].flatMap((spec) =>
      layerKinds(spec).flatMap((kind) =>
        GROUPS.map(([degree, split]) => [spec.name, kind, degree, split, spec] as const),
      ),
    ),
  )("%s %s over %i ranks, split %s (float64)", async (_, kind, degree, split, spec) => {
    const options = { dtype: "float64" } as const;
    const alone = request(kind, 1, "weights");
    const inputs = randomInputs(spec, alone, options);
    const expected = await simulateLayer(spec, alone, inputs, options);
    const actual = await simulateLayer(spec, request(kind, degree, split), inputs, options);
    expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, whole] of Object.entries(expected)) {
      if (name.endsWith("attention.key.bias.gradient") && !("theta" in spec.options)) {
        // Where no position turns it, the key bias moves all scores of a query alike: zero but for rounding.
        expect(Math.max(...Array.from(actual[name]!.data, Math.abs))).toBeLessThan(1e-12);
      } else {
        expect(relativeDifference(actual[name]!, whole), name).toBeLessThan(1e-12);
      }
    }
  });

  it("moves along the sequence only, with as many collectives as Megatron and Ulysses", () => {
    const steps = (split: "weights" | "sequence", pass: "forward" | "backward"): readonly string[] =>
      layerGraphs(model, request("decoder", 2, split))[pass].map(({ op }) => op);
    const count = (ops: readonly string[]): Record<string, number> =>
      Object.fromEntries([...new Set(ops)].map((op) => [op, ops.filter((o) => o === op).length]));
    expect(count(steps("weights", "forward"))).toEqual({ run: 5, allGather: 2, reduceScatter: 2 });
    expect(count(steps("weights", "backward"))).toEqual({ run: 5, allGather: 2, reduceScatter: 2 });
    expect(count(steps("sequence", "forward"))).toEqual({ run: 3, allToAll: 4 });
    expect(count(steps("sequence", "backward"))).toEqual({ run: 3, allToAll: 4 });
  });

  it("exchanges what attention leaves as it stands, which backward reads too", () => {
    const { forward, saved } = layerGraphs(model, request("decoder", 2, "sequence"));
    const exchanged = forward.flatMap((step) => (step.op === "allToAll" ? [step.input] : []));
    expect(saved).toContain(exchanged.at(-1));
  });

  it("refuses what does not divide, in words", () => {
    expect(() => layerGraphs(model, request("decoder", 8, "sequence"))).toThrow(/heads do not divide/);
    expect(() => layerGraphs(model, request("embedding", 3, "sequence"))).toThrow(
      /sequence \(8\) must divide/,
    );
  });

  it("gives equal bytes for equal requests", () => {
    const ids = (): readonly string[] =>
      KINDS.flatMap((kind) => {
        const graphs = layerGraphs(model, request(kind, 2, "weights"));
        return [...graphs.forward, ...graphs.backward].flatMap((s) => (s.op === "run" ? [s.graph.id] : []));
      });
    expect(ids()).toEqual(ids());
    expect(new Set(ids()).size).toBe(ids().length);
  });
});
