import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec, smallModel } from "../../src/families/registry.js";
import { matmulGraph } from "../../src/profiler/matmul-graph.js";
import { groupDivisions, groupOf } from "../../src/profiler/measure-collectives.js";
import { profileHardware } from "../../src/profiler/profile-hardware.js";
import { profileModel } from "../../src/profiler/profile-model.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { hostMachine } from "../../src/runtime/machine.js";

let pool: WorkerPool;
beforeAll(async () => {
  pool = await openHostPool(2);
});
afterAll(() => pool.close());

describe("groups", () => {
  it("divides all ranks into equal groups, each rank in one", () => {
    for (const ranks of [2, 4, 8])
      for (const division of groupDivisions(ranks)) {
        const groups = new Set(
          Array.from({ length: ranks }, (_, rank) => {
            const group = groupOf(division, rank);
            expect(group).toContain(rank);
            expect(group).toHaveLength(division.ranks);
            return group.join();
          }),
        );
        expect(groups.size).toBe(ranks / division.ranks);
      }
  });
});

describe("hardware profile", () => {
  it("measures everything that a search asks for", async () => {
    const labels: string[] = [];
    const profile = await profileHardware(
      pool,
      hostMachine(2).cluster,
      matmulGraph,
      ({ label, done, total }) => {
        labels.push(label);
        expect(done).toBeLessThanOrEqual(total);
      },
      { warmup: 1, repeats: 2 },
    );
    expect(new Set(profile.collectives.map((sample) => sample.collective))).toEqual(
      new Set(["allReduce", "allGather", "reduceScatter", "allToAll", "broadcast", "sendReceive"]),
    );
    for (const { timeMs } of [...profile.matmuls, ...profile.collectives]) expect(timeMs).toBeGreaterThan(0);
    expect(profile.computeSlowdown).toBeGreaterThanOrEqual(1);
    expect(profile.communicationSlowdown).toBeGreaterThanOrEqual(1);
    expect(profile.optimizerGBps).toBeGreaterThan(0);
    expect(profile.launchMs).toBeGreaterThan(0);
    expect(profile.reservedBytes).toBeGreaterThan(10 * 2 ** 20);
    expect(labels.length).toBeGreaterThan(5);
    // Small messages first.
    const reduce = profile.collectives.filter((sample) => sample.collective === "allReduce");
    expect(reduce.at(-1)!.sizeBytes).toBeGreaterThan(reduce[0]!.sizeBytes);
  });
});

describe("model profile", () => {
  it("measures body, embedding and head under every split", async () => {
    const model = modelSpec("gpt", { layers: 6, hidden: 64, heads: 4, sequence: 64 });
    const profile = await profileModel(pool, model, "host", () => {}, {
      warmup: 1,
      repeats: 3,
      samples: [1, 4],
    });

    const rows = profile.layers;
    expect(rows).toHaveLength(3 * 2 * 3);

    const find = (kind: string, degree: number, split: string, samples: number) =>
      rows.find(
        (row) =>
          row.kind === kind &&
          row.tensorDegree === degree &&
          row.tensorSplit === split &&
          row.samples === samples,
      )!;
    const whole = find("decoder", 1, "weights", 4);
    expect(whole.forwardMs).toBeGreaterThan(0);
    expect(whole.backwardMs).toBeGreaterThan(0);
    expect(whole.parameterElements).toBe(model.kinds["decoder"]!.parameters);
    // The input of a layer: sequence × samples × hidden floats, half of it when the sequence is cut.
    expect(whole.inputBytes).toBe(64 * 4 * 64 * 4);
    expect(find("decoder", 2, "sequence", 4).inputBytes).toBe(whole.inputBytes / 2);
    expect(find("decoder", 2, "sequence", 4).parameterElements).toBe(whole.parameterElements);
    const half = find("decoder", 2, "weights", 4);
    expect(half.parameterElements).toBeLessThan(0.6 * whole.parameterElements);
    // Activations are proportional to the samples.
    expect(whole.activationBytes).toBe(4 * find("decoder", 1, "weights", 1).activationBytes);
    expect(half.activationBytes).toBeLessThan(0.75 * whole.activationBytes);
  });

  it.each(["llama", "bert", "t5", "vit", "swin"])("measures every kind of %s", async (family) => {
    const model = smallModel(family);
    const profile = await profileModel(pool, model, "host", () => {}, {
      warmup: 1,
      repeats: 1,
      samples: [2],
    });
    const kinds = new Set([...model.layers, "embedding", "head"]);
    expect(new Set(profile.layers.map((row) => row.kind))).toEqual(kinds);
    for (const kind of new Set(model.layers)) {
      const row = profile.layers.find((layer) => layer.kind === kind && layer.tensorDegree === 1)!;
      expect(row.parameterElements).toBe(model.kinds[kind]!.parameters);
      expect(row.sequence).toBe(model.kinds[kind]!.sequence);
    }
  });
});
