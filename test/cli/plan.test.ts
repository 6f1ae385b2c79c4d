import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { parsePlanJson } from "../../src/model/plan-json.js";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";

const MAIN = resolve("dist/src/cli/main.js");
const SMALL = ["--model", "gpt", "--layers", "4", "--hidden", "32", "--heads", "2", "--sequence", "32"];
const PRESET = ["--model", "gpt2-small", "--machine", "dgx-a100-40gb", "--quiet"];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-plan-"));
  writeFileSync(join(folder, "story.txt"), "Once upon a time there was a small model. ".repeat(200));
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
const degrees = (text: string): readonly string[] => text.split(" ");

describe("galvatron plan", { timeout: 240_000 }, () => {
  it("prices uniform degrees and writes the plan, in our format and the ancestor's", async () => {
    const args = degrees(
      "--pipeline 2 --tensor 2 --tensor-split sequence --data-parallel zero2 --recompute --micro-batches 4 --global-batch 16 --schedule gpipe",
    );
    const priced = await galvatron("plan", ...PRESET, ...args, "--output", "uniform.json", "--json");
    const { plan, prediction } = last(priced.out) as { plan: unknown; prediction: { stepMs: number } };
    expect(plan).toEqual(
      uniformPlan(modelSpec("gpt2-small"), {
        ranks: 8,
        globalBatch: 16,
        microBatches: 4,
        pipelineDegree: 2,
        tensorDegree: 2,
        tensorSplit: "sequence",
        dataParallel: "zero2",
        recompute: true,
        schedule: "gpipe",
        precision: "bfloat16",
        gradientOrder: "deferred",
      }),
    );
    expect(prediction.stepMs).toBeGreaterThan(0);
    const written = parsePlanJson(readFileSync(join(folder, "uniform.json"), "utf8"));
    expect(written.plan).toEqual(plan);
    const theirs = ["--format", "galvatron", "--output", "galvatron_config_bf16.json"];
    expect((await galvatron("plan", ...PRESET, ...args, ...theirs)).code).toBe(0);
    const file = ["--plan", "galvatron_config_bf16.json"];
    const back = last((await galvatron("plan", ...PRESET, ...file, "--json")).out) as object;
    expect(back).toEqual({ ...(last(priced.out) as object) });
    const shown = ["show", "plan", "galvatron_config_bf16.json", "--json"];
    // Their files say nothing of the order of sums.
    const { gradientOrder: _, ...theirPart } = plan as Plan;
    expect(last((await galvatron(...shown, "--model", "gpt2-small")).out)).toMatchObject({ plan: theirPart });
    expect((await galvatron(...shown)).error).toMatch(/names no model.*--model gpt/);
    expect((await galvatron(...shown, ...SMALL)).error).toMatch(/PLAN_INVALID.*12/);
  });

  it("says in words what cannot be", async () => {
    const plan = (text: string) => galvatron("plan", ...PRESET, ...degrees(text));
    expect((await plan("--tensor 2")).error).toContain("--global-batch is needed");
    expect((await plan("--tensor 3 --global-batch 8")).error).toContain("does not divide the 8 ranks");
    expect((await plan("--tensor 8 --data-parallel zero3 --global-batch 8")).error).toContain(
      "nothing to share",
    );
    expect((await plan("--schedule 2f2b --global-batch 8")).error).toContain("gpipe or 1f1b");
    expect((await plan("--global-batch 9")).error).toContain("PLAN_INVALID");
    const zero1 = "--data-parallel zero1 --global-batch 8 --format galvatron --output no.json";
    expect((await plan(zero1)).error).toContain("ZeRO-1: the ancestor's format cannot say it");
  });

  it("trains under degrees, and under a strategy file of Galvatron", async () => {
    const data = degrees("--data story.txt --steps 3 --seed 1 --json");
    const uniform = degrees("--ranks 2 --tensor 2 --micro-batches 2 --global-batch 4");
    const first = await galvatron("train", ...SMALL, ...uniform, ...data);
    expect(first.code, first.error).toBe(0);
    const { plan, losses } = last(first.out) as { plan: { layers: readonly object[] }; losses: number[] };
    expect(plan.layers[0]).toMatchObject({ tensorDegree: 2, dataDegree: 1 });
    const config = {
      pp_deg: 1,
      tp_sizes_enc: "2,2,2,2",
      tp_consecutive_flags: "1,1,1,1",
      dp_types_enc: "0,0,0,0",
    };
    const rest = { world_size: 2, global_bsz: 4, chunks: 2, pp_division: "4", vtp: 2 };
    const name = "galvatron_config_gpt.json";
    writeFileSync(
      join(folder, name),
      JSON.stringify({ ...config, ...rest, pipeline_type: "pipedream_flush" }),
    );
    const theirs = [...SMALL, "--plan", name, "--precision", "float32"];
    const second = await galvatron("train", ...theirs, ...data, "--checkpoint", "runs");
    expect(second.code, second.error).toBe(0);
    expect(last(second.out)).toMatchObject({ plan, losses });
    const written = await galvatron("export", ...theirs, "--checkpoint", "runs", "--output", "tuned");
    expect(written.code, written.error).toBe(0);
    expect(JSON.parse(readFileSync(join(folder, "tuned/config.json"), "utf8"))).toMatchObject({ n_layer: 4 });
    const proven = await galvatron("verify", ...theirs, "--json");
    expect(proven.code, proven.error).toBe(0);
    expect(last(proven.out)).toMatchObject({ plans: 1, worstPlan: plan });
    expect((await galvatron("train", ...SMALL, "--plan", name, ...data)).error).toMatch(
      /--precision float32/,
    );
    const both = ["--plan", name, "--tensor", "2"];
    expect((await galvatron("train", ...SMALL, ...both, ...data)).error).toMatch(/not both/);
    writeFileSync(join(folder, "context_fp32.json"), JSON.stringify({ ...config, ...rest, vcp: 2 }));
    expect((await galvatron("train", ...SMALL, "--plan", "context_fp32.json", ...data)).error).toMatch(
      /vcp.*context parallelism is not offered/,
    );
  });

  it("answers questions about a search on this machine too", async () => {
    const questions = ["--explain", "--what-if", "bandwidth=2", "--front", "3", "--all"];
    const args = ["search", ...SMALL, "--memory", "1GB", "--global-batch", "4", "--ranks", "2", ...questions];
    const told = await galvatron(...args);
    expect(told.code, told.error).toBe(0);
    expect(told.out).toContain("sets the pace");
    expect(told.out).toContain("With bandwidth=2 the best plan takes");
    const answer = last((await galvatron(...args, "--json")).out) as {
      candidates: readonly { status: string }[];
      explanation: { text: string };
      front: readonly object[];
      whatIf: { speedup: number };
    };
    expect(answer.candidates.some(({ status }) => status === "pruned")).toBe(false);
    expect(answer.explanation.text).toContain("sets the pace");
    expect(answer.front.length).toBeGreaterThan(0);
    expect(answer.whatIf.speedup).toBeGreaterThan(0);
  });
});
