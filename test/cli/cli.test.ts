import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const MAIN = resolve("dist/src/cli/main.js");
const MODEL = ["--model", "gpt", "--layers", "2", "--hidden", "32", "--heads", "2", "--sequence", "32"];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-cli-"));
  writeFileSync(
    join(folder, "story.txt"),
    "Once upon a time there was a small model that learnt to spell. ".repeat(200),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

function galvatron(...args: readonly string[]): Promise<Outcome> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let error = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      error += chunk;
    });
    child.on("close", (code) => settle({ code: code ?? -1, out, error }));
  });
}

/** The plan that was found, with micro-batches of two samples. */
function fourMicroBatches(): string {
  const file = JSON.parse(readFileSync(join(folder, "plan.json"), "utf8"));
  return JSON.stringify({ ...file, plan: { ...file.plan, microBatches: 4 } });
}

/** The one object on the last line. */
const json = (outcome: Outcome): Record<string, unknown> =>
  JSON.parse(outcome.out.trim().split("\n").at(-1)!);

describe("from profile to training", { timeout: 240_000 }, () => {
  it("profiles the machine and keeps the profile", async () => {
    const first = json(await galvatron("profile", "hardware", "--json"));
    expect(first.path).toMatch(/\.galvatron\/profiles\/hardware-[0-9a-f]{24}\.arrow$/);
    expect(
      readFileSync(first.path as string)
        .subarray(0, 6)
        .toString(),
    ).toBe("ARROW1");
    const again = json(await galvatron("profile", "hardware", "--json"));
    expect(again).toEqual(first); // measured anew, some time would differ
  });

  it("profiles the model", async () => {
    const { layers } = json(await galvatron("profile", "model", ...MODEL, "--json")) as {
      layers: { kind: string }[];
    };
    expect(new Set(layers.map((layer) => layer.kind))).toEqual(new Set(["decoder", "embedding", "head"]));
  });

  it("searches a plan, says that it assumes 8 samples, and writes the plan", async () => {
    const outcome = await galvatron("search", ...MODEL, "--memory", "1GB", "--output", "plan.json", "--json");
    expect(outcome.code).toBe(0);
    expect(outcome.error).toMatch(/8 samples a step/);
    const found = json(outcome) as {
      plan: { ranks: number; globalBatch: number };
      prediction: { stepMs: number };
    };
    expect(found.plan.ranks).toBeGreaterThanOrEqual(2);
    expect(found.plan.globalBatch).toBe(8);
    expect(found.prediction.stepMs).toBeGreaterThan(0);
    expect(JSON.parse(readFileSync(join(folder, "plan.json"), "utf8")).plan).toEqual(found.plan);
  });

  it("trains under the plan, and the loss falls", async () => {
    const args = [
      "train",
      "--plan",
      "plan.json",
      "--data",
      "story.txt",
      "--steps",
      "30",
      "--learning-rate",
      "0.01",
    ];
    const report = json(await galvatron(...args, "--json")) as {
      outcome: string;
      firstLoss: number;
      lastLoss: number;
      losses: number[];
      peakMemoryBytes: number[];
      predictedMemoryBytes: number[];
    };
    expect(report.outcome).toBe("finished");
    expect(report.firstLoss).toBeGreaterThan(5);
    expect(report.lastLoss).toBeLessThan(3.5);
    expect(report.losses).toHaveLength(30);
    const saving = [...args, "--checkpoint", "saved", "--every", "20", "--json"];
    const saved = json(await galvatron(...saving)) as { checkpoints: { step: number; path: string }[] };
    expect(saved.checkpoints.map(({ step }) => step)).toEqual([20, 30]);
    const resumed = json(await galvatron(...args, "--resume", "saved/step-00000020", "--json"));
    expect(resumed.losses).toEqual(report.losses.slice(20));
    expect((await galvatron(...saving)).error).toMatch(/saved holds checkpoints of another training/);
    // The prediction is a centre: test/bench/memory.mjs measures how near; other machines and loads get some room here.
    for (const [rank, bytes] of report.peakMemoryBytes.entries())
      expect(Math.abs(bytes / report.predictedMemoryBytes[rank]! - 1)).toBeLessThan(0.05);
    const again = json(await galvatron(...args, "--json")) as { losses: number[] };
    expect(again.losses).toEqual(report.losses);
  });

  it("starts with a smaller batch, which grows to the plan's", async () => {
    // A plan of one micro-batch has no smaller batch.
    writeFileSync(join(folder, "four.json"), fourMicroBatches());
    const args = ["train", "--plan", "four.json", "--data", "story.txt", "--steps", "6", "--json"];
    const report = json(await galvatron(...args, "--ramp-up", "4,2,8")) as {
      losses: number[];
      outcome: string;
    };
    expect(report.outcome).toBe("finished");
    expect(report.losses).toHaveLength(6);
    const whole = json(await galvatron(...args)) as { losses: number[] };
    expect(whole.losses[0]).not.toBe(report.losses[0]);
    expect((await galvatron(...args, "--ramp-up", "4,2")).error).toMatch(
      /Expected --ramp-up START,INCREMENT,SAMPLES such as 16,16,4096, got 4,2/,
    );
    expect((await galvatron(...args, "--ramp-up", "3,1,8")).error).toMatch(
      /start and increment in whole micro-batches of the plan; got start 3/,
    );
  });

  it("evaluates what was trained, and weights that go out to Hugging Face and come in again", async () => {
    const data = ["--data", "story.txt", "--held-out", "0.2"];
    const evaluate = ["evaluate", "--plan", "plan.json", ...data, "--json"];
    const training = ["train", "--plan", "plan.json", ...data, "--steps", "8", "--learning-rate", "0.01"];
    const trained = json(
      await galvatron(...training, "--checkpoint", "learned", "--export", "model", "--json"),
    ) as { evaluation: { loss: number; samples: number; steps: number } };
    const ofCheckpoint = json(await galvatron(...evaluate, "--checkpoint", "learned"));
    expect(ofCheckpoint).toEqual(trained.evaluation);
    // The files hold float32: the same parameters, to the bit.
    const ofWeights = json(await galvatron(...evaluate, "--weights", "model"));
    expect(ofWeights).toEqual({ ...trained.evaluation, steps: 0 });
    const untrained = json(await galvatron(...evaluate)) as { loss: number };
    expect(untrained.loss).toBeGreaterThan(trained.evaluation.loss + 0.5);
    const few = json(await galvatron(...evaluate, "--checkpoint", "learned", "--samples", "3"));
    expect(few.samples).toBe(3);

    const exported = await galvatron(
      "export",
      "--plan",
      "plan.json",
      "--checkpoint",
      "learned",
      "--output",
      "again",
    );
    expect(exported.out).toMatch(/Written: .*again/);
    const file = (name: string): Buffer => readFileSync(join(folder, name, "model.safetensors"));
    expect(file("again").equals(file("model"))).toBe(true);
    const half = [
      "export",
      "--plan",
      "plan.json",
      "--weights",
      "model",
      "--output",
      "half",
      "--dtype",
      "bfloat16",
    ];
    expect(json(await galvatron(...half, "--json"))).toEqual({ folder: join(folder, "half"), model: "gpt" });
    expect(file("half").length).toBeLessThan(0.6 * file("model").length);
    const rounded = json(await galvatron(...evaluate, "--weights", "half")) as { loss: number };
    expect(Math.abs(rounded.loss - trained.evaluation.loss)).toBeLessThan(0.05);
    expect(rounded.loss).not.toBe(trained.evaluation.loss);
    // A training that starts from them starts where the other ended.
    const on = json(await galvatron(...training, "--weights", "model", "--json")) as { firstLoss: number };
    expect(on.firstLoss).toBeLessThan(untrained.loss - 0.5);
  });

  it("says what weights and exports cannot be", async () => {
    const at = ["--plan", "plan.json"];
    const error = async (...args: readonly string[]): Promise<string> => (await galvatron(...args)).error;
    expect(await error("export", ...at, "--output", "x")).toMatch(/--checkpoint is needed/);
    expect(await error("export", ...at, "--weights", "model", "--output", "x", "--dtype", "int8")).toMatch(
      /Expected the element type float32, bfloat16, float16 for weights, got int8/,
    );
    expect(await error("export", ...at, "--weights", "nowhere", "--output", "x")).toMatch(
      /FILE_UNREADABLE: .*nowhere/,
    );
    const both = ["--weights", "model", "--checkpoint", "learned"];
    expect(await error("evaluate", ...at, "--data", "story.txt", ...both)).toMatch(
      /Give a checkpoint or weights, not both/,
    );
    expect(await error("evaluate", ...at, "--synthetic")).toMatch(/Synthetic data has no end/);
    const resumed = ["train", ...at, "--data", "story.txt", "--steps", "9"];
    expect(await error(...resumed, "--weights", "model", "--resume", "learned")).toMatch(
      /give resume or weights, not both/,
    );
  });

  it("shows plans, programs and profiles", async () => {
    expect((await galvatron("show", "plan", "plan.json")).out).toMatch(/global batch 8/);
    const program = await galvatron("show", "program", "plan.json", "--rank", "1");
    expect(program.out).toMatch(/^rank 1: \d+ instructions/);
    expect(program.out).toMatch(/adamw \(optimizer/);
    const { path } = json(await galvatron("profile", "hardware", "--json")) as { path: string };
    expect((await galvatron("show", "profile", path)).out).toMatch(/allReduce/);
  });
});

describe("bad input", { timeout: 120_000 }, () => {
  it.each<[string, readonly string[], RegExp, number]>([
    ["an unknown verb", ["fly"], /Unknown verb "fly"\. Known: doctor/, 2],
    ["an unknown flag", ["search", "--speed", "9"], /ARGUMENT_INVALID: Unknown option '--speed'/, 2],
    ["a missing flag", ["search", ...MODEL], /--memory is needed/, 2],
    [
      "a memory size that is none",
      ["search", ...MODEL, "--memory", "lots"],
      /Expected a memory size such as "2GB"/,
      2,
    ],
    ["an unknown model", ["profile", "model", "--model", "gtp"], /MODEL_UNKNOWN: .*"gtp".*gpt2-small/, 1],
    [
      "indivisible heads",
      ["profile", "model", "--model", "gpt", "--hidden", "10", "--heads", "3"],
      /MODEL_INVALID.*multiple of heads/,
      1,
    ],
    [
      "a number that is none",
      ["train", "--plan", "p", "--data", "d", "--steps", "ten"],
      /--steps expects a whole number, got "ten"/,
      2,
    ],
    [
      "a missing plan",
      ["train", "--plan", "none.json", "--data", "story.txt"],
      /FILE_UNREADABLE.*none\.json/,
      1,
    ],
    [
      "a cadence without a folder",
      ["train", "--plan", "plan.json", "--data", "story.txt", "--every", "5"],
      /give --checkpoint DIR too/,
      2,
    ],
    ["too many ranks", ["profile", "hardware", "--ranks", "100"], /1 to 64 ranks/, 2],
  ])("%s gets a clear error", async (_, args, message, code) => {
    const outcome = await galvatron(...args);
    expect(outcome.error).toMatch(message);
    expect(outcome.error).not.toMatch(/\n\s+at /);
    expect(outcome.code).toBe(code);
  });

  it("names the smallest budget when no plan fits", async () => {
    const outcome = await galvatron("search", ...MODEL, "--memory", "1MB");
    expect(outcome.code).toBe(1);
    expect(outcome.error).toMatch(/NO_FEASIBLE_PLAN: .*\d+ MB/);
  });

  it("names missing data before anything starts", async () => {
    const outcome = await galvatron("train", "--plan", "plan.json", "--data", "nowhere/*.txt");
    expect(outcome.error).toMatch(/FILE_UNREADABLE: No file matches "nowhere\/\*\.txt"/);
  });

  it("names a folder that cannot be written", async () => {
    const closed = join(folder, "closed");
    mkdirSync(closed);
    writeFileSync(join(closed, ".galvatron"), "a file where the folder should be");
    chmodSync(closed, 0o500);
    const outcome = await galvatron("profile", "hardware", "--folder", closed);
    expect(outcome.error).toMatch(/FILE_UNWRITABLE|FILE_UNREADABLE/);
    expect(outcome.error).toMatch(/closed\/\.galvatron/);
    chmodSync(closed, 0o700);
  });

  it("refuses a plan file that breaks a rule", async () => {
    const file = JSON.parse(readFileSync(join(folder, "plan.json"), "utf8"));
    writeFileSync(
      join(folder, "broken.json"),
      JSON.stringify({ ...file, plan: { ...file.plan, stageLayers: [5] } }),
    );
    expect((await galvatron("train", "--plan", "broken.json", "--data", "story.txt")).error).toMatch(
      /PLAN_INVALID: .*stages hold 5 layers/,
    );
    writeFileSync(join(folder, "odd.json"), "{}");
    expect((await galvatron("train", "--plan", "odd.json", "--data", "story.txt")).error).toMatch(
      /PLAN_INVALID: .*format/,
    );
  });
});

describe("doctor", () => {
  it("finds all that training on this machine needs", async () => {
    const outcome = await galvatron("doctor", "--json");
    expect(outcome.code).toBe(0);
    const { ok, findings } = json(outcome) as {
      ok: boolean;
      findings: { what: string; found: boolean; remedy: string }[];
    };
    expect(ok).toBe(true);
    for (const what of [
      "C++ compiler",
      "native addon",
      "ONNX Runtime",
      "memory",
      "GPUs",
      "Jupyter",
      "Chromium",
    ])
      expect(findings.map((finding) => finding.what)).toContain(what);
    for (const finding of findings) if (!finding.found) expect(finding.remedy).not.toBe("");
    expect(existsSync(MAIN)).toBe(true);
  });
});
