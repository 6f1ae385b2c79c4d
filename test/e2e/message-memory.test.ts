import { expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import { messageBytesByRank } from "../../src/program/message-memory.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { hostPoolOptions } from "../../src/runtime/coordinator/host-pool.js";
import { openWorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { hashNumbers } from "../../src/runtime/data/sample-order.js";

const RANKS = 4;
const model = modelSpec("t5", {
  layers: 2,
  hidden: 128,
  heads: 8,
  sequence: 32,
  encoderSequence: 64,
  vocabulary: 1031,
});

// Rooms of 3 pages cut nearly every message, rooms of 73 hold most whole.
it.each([3, 73])(
  "shared memory is counted as predicted, to the page: rooms of %i pages",
  async (pages) => {
    const sharedBytesPerRank = 28 * 4096 * pages;
    const seen = new Set<string>();
    for (let draw = 0; draw < 6; draw++) {
      let drawn = 0;
      const pick = (count: number): number => hashNumbers(43, draw, drawn++) % count;
      const { programs, graphs } = compilePlan(
        model,
        drawPlan(model, { ranks: RANKS, globalBatch: 8 }, pick),
      );
      for (const { op } of programs.flatMap(({ instructions }) => instructions)) seen.add(op);
      const pool = await openWorkerPool({ ...hostPoolOptions(RANKS, 1), sharedBytesPerRank });
      await pool.load({ programs, graphs, seed: 1, feed: null, firstStep: 0 });
      const last = (await pool.run(3)).at(-1)!;
      await pool.close();
      expect(last.map(({ memory }) => memory.sharedBytes)).toEqual(
        messageBytesByRank(programs, sharedBytesPerRank),
      );
    }
    for (const op of ["allReduce", "allGather", "reduceScatter", "exchange", "send"])
      expect(seen).toContain(op);
  },
  120_000,
);
