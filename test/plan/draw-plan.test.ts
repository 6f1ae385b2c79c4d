import fc from "fast-check";
import { expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { allStrategies, drawPlan } from "../../src/plan/draw-plan.js";
import { verifyPlan } from "../../src/plan/verify-plan.js";

const model = modelSpec("gpt", { layers: 6, hidden: 32, heads: 8, sequence: 16 });

test("random plans are valid, and equal choices draw equal plans", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 4, 8),
      fc.constantFrom(8, 16),
      fc.array(fc.nat(), { minLength: 40, maxLength: 60 }),
      (ranks, globalBatch, choices) => {
        const draw = () => {
          let at = 0;
          return drawPlan(model, { ranks, globalBatch }, (count) => choices[at++ % choices.length]! % count);
        };
        const plan = draw();
        expect(verifyPlan(model, plan)).toEqual([]);
        expect(draw()).toEqual(plan);
      },
    ),
  );
});

test("over many draws every strategy of a stage comes up", () => {
  let state = 1;
  const pick = (count: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % count;
  };
  const seen = new Set<string>();
  for (let draw = 0; draw < 600; draw++) {
    const plan = drawPlan(model, { ranks: 4, globalBatch: 8 }, pick);
    if (plan.stageLayers.length === 1) for (const strategy of plan.layers) seen.add(JSON.stringify(strategy));
  }
  expect([...seen].sort()).toEqual(
    allStrategies(4)
      .map((strategy) => JSON.stringify(strategy))
      .sort(),
  );
});

test("impossible wishes are refused in words", () => {
  expect(() => drawPlan(model, { ranks: 7, globalBatch: 8 }, () => 0)).toThrow(/no valid plan .* 7 ranks/);
});
