import { describe, expect, it } from "vitest";
import { searchEven } from "../../src/ancestor/search.js";
import { searchUneven } from "../../src/ancestor/uneven-search.js";
import { bruteForce } from "./brute-force.js";
import { randomInstance } from "./random-instance.js";

/** How many random instances; the benchmark script runs more. */
const INSTANCES = Number(process.env.GALVATRON_INSTANCES ?? 300);

describe("searchEven", () => {
  it("finds what trying every plan finds", () => {
    let solvable = 0;
    for (let seed = 1; seed <= INSTANCES; seed++) {
      const instance = randomInstance(seed);
      const least = bruteForce(instance, false);
      const { best, proven } = searchEven(instance.search, instance.profile, instance.space);
      expect(proven).toBe(true);
      const found = best === null ? Infinity : best.time / best.globalBatch;
      if (least === Infinity) expect(found, `seed ${seed}`).toBe(Infinity);
      else {
        solvable++;
        expect(Math.abs(found / least - 1), `seed ${seed}`).toBeLessThan(1e-9);
      }
    }
    expect(solvable).toBeGreaterThan(INSTANCES / 2);
  });
});

describe("searchUneven", () => {
  it("finds what trying every plan with every division finds", () => {
    for (let seed = 1; seed <= INSTANCES; seed++) {
      const instance = randomInstance(seed);
      const least = bruteForce(instance, true);
      const even = searchEven(instance.search, instance.profile, instance.space);
      const uneven = searchUneven(instance.search, instance.profile, even, instance.space).best;
      const found = uneven === null ? Infinity : uneven.time / uneven.globalBatch;
      if (least === Infinity) expect(found, `seed ${seed}`).toBe(Infinity);
      else expect(Math.abs(found / least - 1), `seed ${seed}`).toBeLessThan(1e-9);
    }
  });
});
