import { describe, expect, it } from "vitest";
import { BYTES_PER_GB } from "../../src/base/units.js";
import { MACHINE_PRESETS, presetHardware } from "../../src/cluster/presets.js";
import { modelSpec } from "../../src/families/registry.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { verifyPlan } from "../../src/plan/verify-plan.js";
import { search } from "../../src/search/search.js";

describe("machine presets", () => {
  it("are marked as estimates and have sources", () => {
    for (const { name, source } of MACHINE_PRESETS) {
      expect(presetHardware(name).source).toBe("estimated");
      expect(source.length).toBeGreaterThan(20);
    }
    expect(() => presetHardware("dgx-9")).toThrow(/hgx-h100/);
    expect(() => presetHardware("hgx-h100", 2000)).toThrow(/1024 nodes/);
  });

  it("take longer for more bytes, and across nodes than inside one", () => {
    const { collectives } = presetHardware("hgx-h100", 4);
    for (const a of collectives) {
      for (const b of collectives) {
        if (a.collective !== b.collective || a.ranks !== b.ranks) continue;
        if (a.stride === b.stride && a.sizeBytes < b.sizeBytes) expect(a.timeMs).toBeLessThan(b.timeMs);
        if (a.sizeBytes === b.sizeBytes && a.nodes === 1 && b.nodes > 1)
          expect(a.timeMs).toBeLessThan(b.timeMs);
      }
    }
  });

  it.each(["gpt2-small", "llama-7b"])("let %s be planned without running anything", (name) => {
    const known =
      name === "llama-7b"
        ? (["llama", { layers: 32, hidden: 4096, heads: 32 }] as const)
        : ([name, {}] as const);
    const model = modelSpec(known[0], known[1]);
    const hardware = presetHardware("dgx-a100-80gb");
    const modelProfile = analyticProfile(model, hardware);
    const report = search({ model, modelProfile, hardware, budgetBytes: 80 * BYTES_PER_GB, globalBatch: 16 });
    expect(verifyPlan(model, report.plan)).toEqual([]);
    expect(report.gap).toBe(0);
  });
});
