import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { searchCase } from "../../src/cli/search-case.js";
import { hasOracle, type Loose, ORACLE, oracleCases } from "../ancestor/oracle.js";

describe("searchCase", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "galvatron-case-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("tells which file cannot be read, and which cannot be parsed", async () => {
    await expect(searchCase({ file: join(folder, "none.json"), inputs: folder })).rejects.toMatchObject({
      code: "FILE_UNREADABLE",
    });
    writeFileSync(join(folder, "short.json"), '{"args":');
    await expect(searchCase({ file: join(folder, "short.json"), inputs: folder })).rejects.toMatchObject({
      code: "ARGUMENT_INVALID",
      context: { path: "(whole file)" },
    });
  });

  it.skipIf(!hasOracle)("runs a case file from disk (needs the oracle folder)", async () => {
    const one: Loose = oracleCases().find((candidate) => candidate.id === "v3-llama2-7b-1x8-24g-b64-c8");
    const file = join(folder, "case.json");
    writeFileSync(file, JSON.stringify({ ...one, result: undefined }));
    const result = await searchCase({ file, inputs: join(ORACLE, "inputs") });
    expect(result.status).toBe("ok");
    expect(result.proven).toBe(true);
    expect(result.throughput).toBeGreaterThan(one.result.throughput * (1 - 1e-6));
    expect(result.memoryMBPerStage).toHaveLength(result.plan!.stageLayers.length);
    const like = await searchCase({ file, inputs: join(ORACLE, "inputs"), which: "ancestor" });
    expect(like.memoryMBPerStage).toEqual(one.result.best.memory_cost);
    expect(like.strategies).toEqual(one.result.best.strategies);
  });
});
