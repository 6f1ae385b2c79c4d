import { describe, expect, it } from "vitest";
import { uniformPlan } from "../../src/plan/uniform.js";
import { communicators } from "../../src/program/communicators.js";
import { lower, smallModel } from "./small-model.js";

const model = smallModel(4, { tied: false });
const counted = (options: Omit<Parameters<typeof uniformPlan>[1], "globalBatch">) =>
  lower(model, uniformPlan(model, { globalBatch: 8, ...options })).programs.map(communicators);

describe("communicators of a rank", () => {
  it("counts a group once for each stream that it talks on", () => {
    for (const count of counted({ ranks: 1 }))
      expect(count).toEqual({ groups: 0, rings: 0, peers: 0, transfers: 0, opened: 0, stagingBytes: 0 });
    for (const count of counted({ ranks: 2 }))
      expect(count).toEqual({ groups: 1, rings: 1, peers: 0, transfers: 0, opened: 0, stagingBytes: 0 });
    // Gathers and reductions have streams of their own.
    for (const count of counted({ ranks: 2, dataParallel: "zero3" }))
      expect(count).toEqual({ groups: 2, rings: 2, peers: 0, transfers: 0, opened: 1, stagingBytes: 0 });
    // Gathers behind an update or a layer are copied, all of them: their group stands ready without a ring.
    for (const dataParallel of ["zero1", "zero2"] as const)
      for (const count of counted({ ranks: 2, dataParallel }))
        expect(count).toEqual({ groups: 2, rings: 1, peers: 0, transfers: 0, opened: 1, stagingBytes: 0 });
  });

  it("opens the memory of every rank that it copies parameters from, once", () => {
    for (const count of counted({ ranks: 4, dataParallel: "zero3", microBatches: 2 }))
      expect(count.opened).toBe(3);
    for (const count of counted({ ranks: 4, tensorDegree: 2, dataParallel: "zero3" }))
      expect(count.opened).toBe(1);
    for (const count of counted({ ranks: 4, dataParallel: "zero2" })) expect(count.opened).toBe(3);
    for (const count of counted({ ranks: 4 })) expect(count.opened).toBe(0);
  });

  it("tells direct exchanges from rings, and counts a group that is both once", () => {
    for (const count of counted({ ranks: 2, tensorDegree: 2, tensorSplit: "sequence" })) {
      expect(count.peers).toBe(1);
      expect(count.groups).toBeLessThanOrEqual(count.rings + 1);
    }
    for (const count of counted({ ranks: 4, tensorDegree: 4, tensorSplit: "sequence" }))
      expect(count.peers).toBe(3);
    for (const count of counted({ ranks: 2, tensorDegree: 2 })) expect(count.peers).toBe(0);
  });

  it("has both ends of a transfer count it, each direction by itself", () => {
    const [first, middle, , last] = counted({ ranks: 4, pipelineDegree: 4, microBatches: 4 });
    expect(first!.transfers).toBe(2);
    expect(middle!.transfers).toBe(4);
    expect(last!.transfers).toBe(2);
  });
});
