import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { solveLayers } from "../../src/search/layer-dp.js";
import type { LayerSolution, LayerTables } from "../../src/search/layer-problem.js";

const shared = process.env.GALVATRON_SHARED ?? join(__dirname, "../../../shared");
const golden = join(shared, "oracle/golden-dp.json");

/** Every assignment tried. */
function bruteForce(tables: LayerTables, layerKind: Int32Array, budget: number): number {
  const count = tables.strategies;
  const visit = (layer: number, before: number, time: number, memory: number): number => {
    if (memory > budget) return Infinity;
    if (layer === layerKind.length) return time;
    const kind = layerKind[layer]!;
    let least = Infinity;
    for (let s = 0; s < count; s++) {
      const step = layer === 0 ? 0 : tables.switchTime[(kind * count + before) * count + s]!;
      const own = tables.time[kind * count + s]!;
      if (own === Infinity) continue;
      least = Math.min(
        least,
        visit(layer + 1, s, time + step + own, memory + tables.memory[kind * count + s]!),
      );
    }
    return least;
  };
  return visit(0, 0, 0, 0);
}

/** What a solution says of itself must follow from its strategies. */
function expectConsistent(
  tables: LayerTables,
  layerKind: Int32Array,
  budget: number,
  found: LayerSolution,
): void {
  const count = tables.strategies;
  let time = 0;
  let memory = 0;
  found.strategies.forEach((s, layer) => {
    const kind = layerKind[layer]!;
    if (layer > 0) time += tables.switchTime[(kind * count + found.strategies[layer - 1]!) * count + s]!;
    time += tables.time[kind * count + s]!;
    memory += tables.memory[kind * count + s]!;
  });
  expect(found.strategies.length).toBe(layerKind.length);
  expect(found.memory).toBe(memory);
  expect(memory).toBeLessThanOrEqual(budget);
  expect(Math.abs(found.time - time)).toBeLessThanOrEqual(1e-12 * Math.abs(time));
}

const instance = fc
  .record({
    layers: fc.integer({ min: 1, max: 5 }),
    kinds: fc.integer({ min: 1, max: 2 }),
    strategies: fc.integer({ min: 1, max: 5 }),
    seed: fc.integer(),
    whole: fc.boolean(),
    tightness: fc.double({ min: 0, max: 1.1, noNaN: true }),
  })
  .map(({ layers, kinds, strategies, seed, whole, tightness }) => {
    let state = seed | 1;
    const random = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return state / 0x80000000;
    };
    const value = (): number => (whole ? Math.floor(random() * 5) : random() * 5);
    const tables: LayerTables = {
      strategies,
      time: Float64Array.from({ length: kinds * strategies }, () => (random() < 0.05 ? Infinity : value())),
      memory: Int32Array.from({ length: kinds * strategies }, () => Math.floor(random() * 12)),
      switchTime: Float64Array.from({ length: kinds * strategies * strategies }, () =>
        random() < 0.4 ? 0 : value(),
      ),
    };
    const layerKind = Int32Array.from({ length: layers }, () => Math.floor(random() * kinds));
    return { tables, layerKind, budget: Math.floor(tightness * layers * 11) };
  });

describe("solveLayers", () => {
  it("finds what trying every assignment finds", () => {
    fc.assert(
      fc.property(instance, ({ tables, layerKind, budget }) => {
        const least = bruteForce(tables, layerKind, budget);
        const found = solveLayers(tables, layerKind, budget);
        if (least === Infinity) {
          expect(found).toBeNull();
          return;
        }
        expect(found).not.toBeNull();
        expectConsistent(tables, layerKind, budget, found!);
        expect(Math.abs(found!.time - least)).toBeLessThanOrEqual(1e-12 * Math.abs(least));
      }),
      { numRuns: 3000, seed: 7 },
    );
  });

  it("is never slower with more budget", () => {
    fc.assert(
      fc.property(instance, fc.integer({ min: 0, max: 20 }), ({ tables, layerKind, budget }, more) => {
        const tight = solveLayers(tables, layerKind, budget)?.time ?? Infinity;
        const loose = solveLayers(tables, layerKind, budget + more)?.time ?? Infinity;
        expect(loose).toBeLessThanOrEqual(tight + 1e-12 * tight);
      }),
      { numRuns: 300, seed: 11 },
    );
  });

  it.skipIf(!existsSync(golden))(
    "solves the ancestor's own problems as its core did (needs the oracle folder)",
    () => {
      const file = JSON.parse(readFileSync(golden, "utf8"));
      let solved = 0;
      for (const search of file.captured) {
        const count = search.S;
        for (const problem of search.problems) {
          const tables: LayerTables = {
            strategies: count,
            time: Float64Array.from(search.intra),
            memory: Int32Array.from(problem.v),
            switchTime: Float64Array.from(search.inter.flat()),
          };
          const budget = search.max_mem - 1 - problem.other_mem;
          const found = budget < 0 ? null : solveLayers(tables, new Int32Array(problem.L), budget);
          solved += expectCost(found, problem.remaining < 0 ? Infinity : problem.cost - problem.other_time);
          if (found !== null) expectConsistent(tables, new Int32Array(problem.L), budget, found);
        }
      }
      expect(solved).toBe(128);
      for (const problem of file.random) {
        const layers = problem.L;
        const tables: LayerTables = {
          strategies: problem.S,
          time: Float64Array.from(problem.intra.flat()),
          memory: Int32Array.from(problem.v.flat()),
          switchTime: Float64Array.from(problem.inter.flat(2)),
        };
        const layerKind = Int32Array.from({ length: layers }, (_, layer) => layer);
        for (const [key, other] of Object.entries<number>(problem.other_mem)) {
          const budget = problem.max_mem - 1 - other;
          const found = budget < 0 ? null : solveLayers(tables, layerKind, budget);
          expectCost(
            found,
            problem.remaining[key] < 0 ? Infinity : problem.cost[key] - problem.other_time[key],
          );
        }
      }
    },
  );
});

function expectCost(found: LayerSolution | null, cost: number): number {
  if (found === null) expect(cost).toBe(Infinity);
  else expect(Math.abs(found.time - cost)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(cost)));
  return 1;
}
