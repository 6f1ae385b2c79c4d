import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readStrategyConfig } from "../../src/ancestor/strategy-json.js";
import { parsePlanJson } from "../../src/model/plan-json.js";

const MAIN = resolve("dist/src/cli/main.js");
const BASE = ["search", "--model", "gpt2-small", "--machine", "dgx-a100-40gb", "--quiet"];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-preset-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function galvatron(
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
  return new Promise((settle) =>
    execFile(process.execPath, [MAIN, ...args], { cwd: folder }, (error, out, text) =>
      settle({ code: error === null ? 0 : Number(error.code), out, error: text }),
    ),
  );
}

const last = (out: string): unknown => JSON.parse(out.trim().split("\n").at(-1)!);

describe("search --machine", { timeout: 60_000 }, () => {
  it("plans, explains, compares and writes both plan formats", async () => {
    const args = [...BASE, "--memory", "6GB", "--global-batch", "16:32:16"];
    const told = await galvatron(
      ...args,
      "--explain",
      "--what-if",
      "memory=40GB,bandwidth=2",
      "--front",
      "4",
    );
    expect(told.code).toBe(0);
    expect(told.out).toContain("sets the pace");
    expect(told.out).toContain("With memory=40GB,bandwidth=2 the best plan takes");
    const ours = await galvatron(...args, "--disable", "sequence,strided", "--output", "plan.json", "--json");
    const report = last(ours.out) as { plan: { ranks: number }; gap: number };
    expect(report.plan.ranks).toBe(8);
    expect(report.gap).toBe(0);
    expect(parsePlanJson(readFileSync(join(folder, "plan.json"), "utf8")).plan).toEqual(report.plan);
    const theirs = [...args, "--baseline", "zero3", "--format", "galvatron", "--output", "theirs.json"];
    const baseline = last((await galvatron(...theirs, "--json")).out) as { plan: unknown };
    const read = readStrategyConfig(
      JSON.parse(readFileSync(join(folder, "theirs.json"), "utf8")),
      "theirs.json",
    );
    // The ancestor's format has no order of sums: what it leaves out is deferred.
    expect({ ...read, gradientOrder: "deferred" }).toEqual(baseline.plan);
  });

  it("gives every candidate its time on demand, and refuses what it does not know", async () => {
    const all = last((await galvatron(...BASE, "--global-batch", "16", "--all", "--json")).out) as {
      candidates: { status: string }[];
    };
    expect(all.candidates.length).toBeGreaterThan(5);
    expect(all.candidates.some(({ status }) => status === "pruned")).toBe(false);
    expect((await galvatron(...BASE, "--disable", "luck")).error).toContain("recompute");
    expect((await galvatron(...BASE, "--baseline", "4d")).error).toContain("3d");
    expect((await galvatron(...BASE, "--what-if", "luck=2")).error).toContain("bandwidth");
    expect((await galvatron(...BASE, "--global-batch", "8:x")).error).toContain("8:128:8");
    expect((await galvatron("search", "--model", "gpt", "--memory", "1GB", "--nodes", "2")).code).toBe(2);
  });
});
