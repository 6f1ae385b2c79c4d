import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FAMILIES, modelSpec, smallModel } from "../../src/families/registry.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { product } from "../../src/program/flat-layout.js";
import type { ParameterSlice, Program } from "../../src/program/program.js";
import { readState } from "../../src/program/read-state.js";
import {
  blockRuns,
  heldBlocks,
  intersection,
  type ParameterBlock,
  STATE_KINDS,
  wholeBlock,
  wholeShapes,
  writtenBlocks,
} from "../../src/program/state-blocks.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";

function picker(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % count;
  };
}

/** Name and element of the whole parameter at each place of a rank's tensor, as the slices say; 0 is padding. */
function byHand(program: Program, flat: number, start: number, length: number, idOf: IdOf): Float64Array {
  const found = new Float64Array(length);
  for (const slice of program.parameters) {
    if (slice.flat !== flat) continue;
    const elements = product(slice.extent);
    for (let k = Math.max(0, start - slice.flatOffset); k < elements; k++) {
      const place = slice.flatOffset + k - start;
      if (place >= length) break;
      const element = elementOf(slice, k);
      if (element >= 0) found[place] = idOf(slice.name, element);
    }
  }
  return found;
}

type IdOf = (name: string, element: number) => number;

function elementOf(slice: ParameterSlice, k: number): number {
  let rest = k;
  let element = 0;
  let stride = 1;
  for (let axis = slice.extent.length - 1; axis >= 0; axis--) {
    const index = slice.start[axis]! + (rest % slice.extent[axis]!);
    rest = Math.floor(rest / slice.extent[axis]!);
    if (axis === 0 && slice.unpaddedRows !== undefined && index >= slice.unpaddedRows) return -1;
    element += index * stride;
    stride *= slice.fullShape[axis]!;
  }
  return element;
}

describe.each(FAMILIES.map(({ name }) => name))("random plans of %s", (family) => {
  const model = smallModel(family);
  const plans = [2, 4, 8].map((ranks) =>
    drawPlan(
      model,
      { ranks, globalBatch: 8, precision: ranks === 4 ? "bfloat16" : "float32" },
      picker(ranks),
    ),
  );

  it("hold the elements that their slices say and their rank updates, padding left out", () => {
    for (const plan of plans) {
      const { programs } = compilePlan(model, plan);
      const shapes = wholeShapes(programs);
      const names = [...shapes.keys()];
      const ids = new Map(names.map((name, index) => [name, (index + 1) * 2 ** 32]));
      const idOf: IdOf = (name, element) => ids.get(name)! + element;
      for (const program of programs) {
        for (const what of [...STATE_KINDS, "gradient", "computeCopy"] as const) {
          for (const [index, flat] of program.flats.entries()) {
            if (flat[what] < 0) continue;
            const start =
              what === "parameter"
                ? flat.parameterStart
                : what === "gradient"
                  ? flat.gradientStart
                  : what === "computeCopy"
                    ? flat.computeCopyStart
                    : flat.shardStart;
            const length = product(program.tensors[flat[what]]!.shape);
            const found = new Float64Array(length);
            const whole = flat.wholeBetweenSteps && what === readState(flat);
            const updated = (place: number): boolean =>
              what === "gradient" ||
              whole ||
              (start + place >= flat.shardStart && start + place < flat.shardStart + flat.shardElements);
            const expected = byHand(program, index, start, length, idOf).map((id, place) =>
              updated(place) ? id : 0,
            );
            for (const block of heldBlocks(program, what)) {
              if (block.tensor !== flat[what]) continue;
              for (const run of blockRuns(block, wholeBlock(block.name, shapes.get(block.name)!), block))
                for (let k = 0; k < run.elements; k++)
                  found[block.offset + run.to + k] = idOf(block.name, run.from + k);
            }
            const same = found.every((id, place) => id === expected[place]);
            expect(same, `${what} ${index} of rank ${program.rank}\n${describePlan(plan).join("\n")}`).toBe(
              true,
            );
          }
        }
      }
    }
  });

  it("write every element of every state once, and all ranks write", () => {
    for (const plan of plans) {
      const { programs } = compilePlan(model, plan);
      const written = writtenBlocks(programs);
      const shapes = wholeShapes(programs);
      for (const state of STATE_KINDS) {
        const times = new Map([...shapes].map(([name, shape]) => [name, new Uint8Array(product(shape))]));
        for (const block of written.flat()) {
          if (block.state !== state) continue;
          for (const run of blockRuns(block, block, wholeBlock(block.name, shapes.get(block.name)!)))
            for (let k = 0; k < run.elements; k++) times.get(block.name)![run.to + k]!++;
        }
        for (const [name, counts] of times)
          expect(
            counts.every((count) => count === 1),
            `${state} ${name}`,
          ).toBe(true);
      }
      for (const [rank, blocks] of written.entries())
        expect(blocks.length, `rank ${rank}\n${describePlan(plan).join("\n")}`).toBeGreaterThan(0);
    }
  });
});

it("copies what two blocks have in common, whatever their shapes", () => {
  const axis = fc.record({
    full: fc.integer({ min: 1, max: 5 }),
    cuts: fc.tuple(...[0, 1, 2, 3].map(() => fc.nat(5))),
  });
  fc.assert(
    fc.property(fc.array(axis, { maxLength: 4 }), (axes) => {
      const box = (which: 0 | 2): ParameterBlock => {
        const ends = axes.map(
          ({ full, cuts }) => [cuts[which]! % full, 1 + (cuts[which + 1]! % full)] as const,
        );
        const low = ends.map(([a, b]) => Math.min(a, b - 1));
        return { name: "w", start: low, extent: ends.map(([a, b], i) => Math.max(a + 1, b) - low[i]!) };
      };
      const whole = wholeBlock(
        "w",
        axes.map(({ full }) => full),
      );
      const idsOf = (block: ParameterBlock): number[] => {
        const ids: number[] = [];
        for (const run of blockRuns(block, whole, block))
          for (let k = 0; k < run.elements; k++) ids[run.to + k] = run.from + k;
        return ids;
      };
      const [a, b] = [box(0), box(2)];
      const [inA, inB] = [idsOf(a), idsOf(b)];
      const common = intersection(a, b);
      const expected = inB.map((id) => (inA.includes(id) ? id : -1));
      const found = inB.map(() => -1);
      if (common)
        for (const run of blockRuns(common, a, b))
          for (let k = 0; k < run.elements; k++) found[run.to + k] = inA[run.from + k]!;
      expect(inA).toHaveLength(product(a.extent));
      expect(found).toEqual(expected);
    }),
  );
});

it.each(["zero1", "zero2"] as const)(
  "are written once where two stages share a tied table under %s",
  (dataParallel) => {
    const tied = modelSpec("gpt", { layers: 4, hidden: 32, heads: 4, sequence: 16, tied: true });
    for (const precision of ["float32", "bfloat16"] as const) {
      const plan = uniformPlan(tied, {
        ranks: 4,
        globalBatch: 8,
        pipelineDegree: 2,
        dataParallel,
        precision,
      });
      const { programs } = compilePlan(tied, plan);
      const written = writtenBlocks(programs).flat();
      for (const [name, shape] of wholeShapes(programs))
        for (const kind of STATE_KINDS) {
          const own = written.filter((block) => block.name === name && block.state === kind);
          expect(own.reduce((sum, { extent }) => sum + product(extent), 0)).toBe(product(shape));
        }
    }
  },
);
