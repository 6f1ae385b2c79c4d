import fc from "fast-check";
import { expect, test } from "vitest";
import { ARENA_ALIGNMENT, type ArenaRequest, planArena } from "../../src/program/plan-arena.js";

const requests: fc.Arbitrary<readonly ArenaRequest[]> = fc.array(
  fc
    .record({
      sizeBytes: fc.integer({ min: 1, max: 5000 }),
      persistent: fc.integer({ min: 0, max: 5 }).map((one) => one === 0),
      category: fc.constantFrom("parameter" as const, "io" as const),
      first: fc.integer({ min: 0, max: 40 }),
      length: fc.integer({ min: 0, max: 15 }),
    })
    .map(({ length, ...rest }) => ({ ...rest, last: rest.first + length })),
  { maxLength: 60 },
);

test("buffers that live at once never share bytes, and every one lies aligned inside the arena", () => {
  fc.assert(
    fc.property(requests, (buffers) => {
      const { offsets, arenaBytes } = planArena(buffers);
      for (const [i, a] of buffers.entries()) {
        expect(offsets[i]! % ARENA_ALIGNMENT).toBe(0);
        expect(offsets[i]! + a.sizeBytes).toBeLessThanOrEqual(arenaBytes);
        for (const [j, b] of buffers.entries()) {
          if (i >= j) continue;
          const meet = a.persistent || b.persistent || (a.first <= b.last && b.first <= a.last);
          const overlap = offsets[i]! < offsets[j]! + b.sizeBytes && offsets[j]! < offsets[i]! + a.sizeBytes;
          expect(meet && overlap).toBe(false);
        }
      }
    }),
  );
});

test("the same requests get the same addresses", () => {
  fc.assert(
    fc.property(requests, (buffers) => {
      expect(planArena(buffers)).toEqual(planArena([...buffers]));
    }),
  );
});

test("states lie first, wherever they stand among inputs", () => {
  const passing = { sizeBytes: 512, persistent: false, category: "activation" as const, first: 0, last: 9 };
  const input = { ...passing, persistent: true, category: "io" as const };
  const state = (sizeBytes: number, category: "parameter" | "optimizer") => ({
    ...input,
    sizeBytes,
    category,
  });
  const few = planArena([input, state(256, "parameter"), passing, state(768, "optimizer")]);
  const many = planArena([input, input, state(256, "parameter"), input, passing, state(768, "optimizer")]);
  expect([few.offsets[1], few.offsets[3]]).toEqual([0, 256]);
  expect([many.offsets[2], many.offsets[5]]).toEqual([0, 256]);
  expect(many.offsets[0]).toBe(1024);
});

test("buffers one after another take the place of one", () => {
  const buffers = Array.from({ length: 50 }, (_, i) => ({
    sizeBytes: 1024,
    persistent: false,
    category: "activation" as const,
    first: 2 * i,
    last: 2 * i + 1,
  }));
  expect(planArena(buffers).arenaBytes).toBe(1024);
});

test("very many buffers are placed in order of time, without overlap", () => {
  const buffers = Array.from({ length: 30_000 }, (_, i) => ({
    sizeBytes: 256 * (1 + (i % 7)),
    persistent: false,
    category: "activation" as const,
    first: i,
    last: i + (i % 13),
  }));
  const { offsets, arenaBytes } = planArena(buffers);
  for (let i = 0; i < buffers.length; i++) {
    for (let j = i + 1; j <= Math.min(i + 13, buffers.length - 1); j++) {
      if (buffers[i]!.last < buffers[j]!.first) continue;
      const overlap =
        offsets[i]! < offsets[j]! + buffers[j]!.sizeBytes &&
        offsets[j]! < offsets[i]! + buffers[i]!.sizeBytes;
      expect(overlap).toBe(false);
    }
  }
  expect(arenaBytes).toBeLessThan(13 * 7 * 256);
});
