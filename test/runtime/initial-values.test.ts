import { describe, expect, it } from "vitest";
import { streamKey } from "../../src/base/random.js";
import { loadAddon } from "../../src/device/load-addon.js";
import { modelSpec } from "../../src/families/registry.js";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import type { Program } from "../../src/program/program.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import {
  drawnStates,
  type FillNormal,
  initialWrites,
  repeatedWrites,
} from "../../src/runtime/worker/initial-values.js";

const model = modelSpec("llama", { layers: 1, hidden: 64, heads: 4, sequence: 32, vocabulary: 96 });
const addon = loadAddon();
const native: FillNormal = (target, seed, name, runs, standardDeviation) => {
  const [key0, key1] = streamKey(seed, name);
  addon.fillNormal(target, { key0, key1, ...runs, standardDeviation });
};

async function written(program: Program, fill?: FillNormal): Promise<ReadonlyMap<number, Uint8Array>> {
  const writes = new Map<number, Uint8Array>();
  for await (const { tensor, bytes } of initialWrites(program, drawnStates(program, 5, fill)))
    writes.set(tensor, bytes.slice());
  return writes;
}

describe("initial values", () => {
  it.each<[string, Partial<UniformPlanOptions>]>([
    ["weights cut by rows and columns", { tensorDegree: 4 }],
    ["shards that begin inside a row", { dataParallel: "zero3" }],
    ["shards of cut weights, copies of all of them", { tensorDegree: 2, dataParallel: "zero2" }],
  ])("are the same drawn natively: %s", async (_, options) => {
    const plan = uniformPlan(model, { ranks: 4, globalBatch: 4, precision: "bfloat16", ...options });
    for (const program of compilePlan(model, plan).programs) {
      const [drawn, expected] = [await written(program, native), await written(program)];
      expect([...drawn.keys()]).toEqual([...expected.keys()]);
      for (const { parameter, computeCopy } of program.flats) {
        const values = (writes: ReadonlyMap<number, Uint8Array>): Float32Array =>
          new Float32Array(writes.get(parameter)!.buffer);
        const [a, b] = [values(drawn), values(expected)];
        expect(Math.max(...b.map(Math.abs))).toBeGreaterThan(0.01);
        // But for the last bit.
        expect(a.every((value, i) => Math.abs(value - b[i]!) <= 2 ** -23 * Math.abs(b[i]!))).toBe(true);
        const bits = (writes: ReadonlyMap<number, Uint8Array>): Uint16Array =>
          new Uint16Array(writes.get(computeCopy)!.buffer);
        const [c, d] = [bits(drawn), bits(expected)];
        expect(d.some((value) => value !== 0)).toBe(true);
        expect(c.every((value, i) => Math.abs(value - d[i]!) <= 1)).toBe(true);
      }
    }
  });

  it("do not depend on the plan: every rank's part is of the whole parameter", async () => {
    const whole = compilePlan(model, uniformPlan(model, { ranks: 1, globalBatch: 4 })).programs[0]!;
    const values = new Map<string, Float32Array>();
    const writes = await written(whole);
    for (const { name, flat, flatOffset, extent } of whole.parameters) {
      const all = new Float32Array(writes.get(whole.flats[flat]!.parameter)!.buffer);
      values.set(name, all.slice(flatOffset, flatOffset + extent.reduce((a, b) => a * b, 1)));
    }
    for (const program of compilePlan(
      model,
      uniformPlan(model, { ranks: 4, globalBatch: 4, tensorDegree: 4 }),
    ).programs) {
      const own = await written(program, native);
      for (const { name, flat, flatOffset, extent, start, fullShape } of program.parameters) {
        if (extent.length !== 2) continue;
        const held = new Float32Array(own.get(program.flats[flat]!.parameter)!.buffer);
        const [rows, columns] = extent as readonly [number, number];
        for (let row = 0; row < rows; row += 7) {
          const from = (start[0]! + row) * fullShape[1]! + start[1]!;
          const expected = values.get(name)!.slice(from, from + columns);
          const at = flatOffset + row * columns;
          expect(
            held.slice(at, at + columns).every((value, i) => Math.abs(value - expected[i]!) < 1e-7),
          ).toBe(true);
        }
      }
    }
  });

  it.each<[string, Partial<UniformPlanOptions>]>([
    ["weights cut by rows and columns", { tensorDegree: 4 }],
    ["shards that begin inside a row", { dataParallel: "zero3" }],
    ["shards, copies of all", { tensorDegree: 2, dataParallel: "zero2" }],
  ])("of a model that is only timed fill the same places, one stretch for all: %s", async (_, options) => {
    const plan = uniformPlan(model, { ranks: 4, globalBatch: 4, precision: "bfloat16", ...options });
    for (const program of compilePlan(model, plan).programs) {
      const expected = await written(program, native);
      const found = new Map([...expected].map(([tensor, bytes]) => [tensor, new Uint8Array(bytes.length)]));
      for (const { tensor, from, until, bytes } of repeatedWrites(program, 5, native))
        found.get(tensor)!.set(bytes.subarray(0, until - from), from);
      for (const { parameter, computeCopy } of program.flats) {
        const drawn = new Float32Array(found.get(parameter)!.buffer);
        const whole = new Float32Array(expected.get(parameter)!.buffer);
        // Zeros and ones are the same, other numbers of the same size.
        expect(drawn.every((value, i) => (value === 0) === (whole[i] === 0))).toBe(true);
        expect(drawn.every((value, i) => (value === 1) === (whole[i] === 1))).toBe(true);
        const spread = (values: Float32Array): number =>
          Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
        expect(spread(drawn) / spread(whole)).toBeCloseTo(1, 1);
        const copy = new Uint16Array(found.get(computeCopy)!.buffer);
        const wholeCopy = new Uint16Array(expected.get(computeCopy)!.buffer);
        expect(copy.every((value, i) => (value === 0) === (wholeCopy[i] === 0))).toBe(true);
      }
    }
  });
});
