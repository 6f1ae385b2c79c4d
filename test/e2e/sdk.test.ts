import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type DisplayHandle, NOTEBOOK_HOST, type NotebookHost } from "../../src/base/host.js";
import { DISPLAY, type Displayable } from "../../src/display/mime.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { jsonl, synthetic, text } from "../../src/runtime/data/data-description.js";
import { compare } from "../../src/session/compare.js";
import type { PlanHandle } from "../../src/session/plan-handle.js";
import type { Reporter } from "../../src/session/reporter.js";
import type { Run } from "../../src/session/run.js";
import { clusterIn, modelIn } from "../../src/session/sdk.js";
import { newSession, type Session } from "../../src/session/session.js";

const MODEL = { layers: 4, hidden: 64, heads: 4, sequence: 64 };

let folder: string;
let session: Session;
const notices: string[] = [];
const reporter: Reporter = {
  notice: (said) => notices.push(said),
  progress: () => ({ update: () => {}, end: () => {} }),
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-sdk-"));
  writeFileSync(
    join(folder, "story.txt"),
    "It was a dark and stormy night; the rain fell in torrents. ".repeat(300),
  );
  session = newSession({ folder, reporter });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  delete (globalThis as { [NOTEBOOK_HOST]?: NotebookHost })[NOTEBOOK_HOST];
});

const htmlOf = (value: Displayable): string => String(value[DISPLAY]()["text/html"]);

describe("the story of the SDK", { timeout: 240_000 }, () => {
  let plan: PlanHandle;

  it("searches in the short form: profiles what is not profiled, and says so", async () => {
    plan = await modelIn(session, "gpt", MODEL).search("1GB");
    expect(notices.join("\n")).toMatch(/This machine is not profiled yet: profiling it first/);
    expect(notices.join("\n")).toMatch(/gpt is not profiled yet on this machine/);
    expect(notices.join("\n")).toMatch(/planning for 8 samples a step/);
    expect(plan.data.globalBatch).toBe(8);
    expect(readdirSync(join(folder, ".galvatron", "profiles")).sort()).toEqual([
      expect.stringMatching(/^hardware-.*\.arrow$/),
      expect.stringMatching(/^model-.*\.arrow$/),
    ]);
    expect(plan.predictedTimeline().spans.length).toBeGreaterThan(10);
    for (const shown of [plan, plan.explain(), plan.timeline()]) expect(htmlOf(shown)).toMatch(/<img alt=/);
  });

  it("says why the plan is as it is, and what would be otherwise", () => {
    const explanation = plan.explanation()!;
    const terms = Object.values(plan.prediction.stages[explanation.binding.stage]!.time);
    expect(terms).toContain(explanation.binding.ms);
    expect(plan.explain().text).toContain(explanation.text);
    for (const { withoutMs } of explanation.dimensions)
      if (withoutMs !== null) expect(withoutMs).toBeGreaterThanOrEqual(plan.report.lowerBoundMs * (1 - 1e-9));
    const { before, after, speedup } = plan.whatIf({ compute: 4 });
    expect(after!.prediction.stepMs).toBeLessThan(before!.prediction.stepMs);
    expect(speedup).toBeCloseTo(before!.prediction.stepMs / after!.prediction.stepMs, 9);
    expect(() => plan.whatIf({ compute: 0 })).toThrow(/above 0/);
    const { candidates, plan: same } = plan.completeReport();
    expect(same).toEqual(plan.data);
    expect(candidates).toHaveLength(plan.report.candidates.length);
    expect(candidates.some(({ status }) => status === "pruned")).toBe(false);
    for (const { status, stepMs } of candidates)
      if (status === "ok") expect(stepMs).toBeGreaterThanOrEqual(plan.report.lowerBoundMs * (1 - 1e-9));
    const front = plan.front(4);
    for (const [index, point] of front.entries())
      if (index > 0) expect(point.samplesPerSecond).toBeGreaterThan(front[index - 1]!.samplesPerSecond);
  });

  it("refuses budgets too small, and the smallest budget it names does", async () => {
    const gpt = modelIn(session, "gpt", MODEL);
    const { smallestBudgetBytes } = plan.report;
    await expect(gpt.search(smallestBudgetBytes - 2 ** 20)).rejects.toMatchObject({
      code: "NO_FEASIBLE_PLAN",
      message: expect.stringContaining(`${Math.ceil(smallestBudgetBytes / 2 ** 20)} MB`),
    });
    const tight = await gpt.search(smallestBudgetBytes);
    expect(Math.max(...tight.memoryBytesByRank())).toBeLessThanOrEqual(smallestBudgetBytes);
  });

  it("trains: a handle at once, steps as they come, a report beside the prediction", async () => {
    const run = plan.train({ data: text("story.txt"), steps: 25, learningRate: 5e-3 });
    expect("then" in run).toBe(false);
    expect(run.status).toBe("running");
    const losses: number[] = [];
    for await (const step of run) losses.push(step.loss);
    const report = await run.done;
    expect(losses).toHaveLength(25);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 1);
    expect(report).toMatchObject({ outcome: "finished", steps: 25, lastLoss: losses.at(-1) });
    expect(run.table().numRows).toBe(25 * plan.data.ranks);
    expect(run.lastStep?.spans).toHaveLength(plan.predictedTimeline().spans.length);
    // The operating system's count against the prediction; test/bench/memory.mjs measures how near.
    for (const [rank, bytes] of report.peakMemoryBytes.entries())
      expect(Math.abs(bytes / report.predictedMemoryBytes[rank]! - 1)).toBeLessThan(0.05);
    for (const shown of [run, run.timeline(), run.accuracy(), compare(plan, run)])
      expect(htmlOf(shown)).toMatch(/<img alt=/);
  });

  it("evaluates on what it held out, also of data that must be read first", async () => {
    const said = readFileSync(join(folder, "story.txt"), "utf8").match(/.{1,200}/g)!;
    writeFileSync(join(folder, "story.jsonl"), said.map((body) => JSON.stringify({ body })).join("\n"));
    const run = plan.train({
      data: jsonl("story.jsonl", { field: "body", heldOut: 0.1 }),
      steps: 8,
      evaluate: { every: 3 },
      learningRate: 5e-3,
    });
    const report = await run.done;
    expect(run.evaluations.map(({ steps }) => steps)).toEqual([3, 6, 8]);
    expect(report.evaluation).toEqual(run.evaluations.at(-1));
    expect(report.evaluation!.loss).toBeLessThan(run.evaluations[0]!.loss);
    expect(Math.abs(report.evaluation!.loss - report.lastLoss)).toBeLessThan(0.5);
    expect(report.text).toMatch(/held-out loss \(\d+ samples\)/);
    const broken = plan.train({ data: jsonl("story.txt"), steps: 2 });
    await expect(broken.done).rejects.toThrow(/story.txt, line 1: this is no JSON object/);
    expect(broken.status).toBe("failed");
    expect(() => plan.train({ data: text("story.txt"), steps: 2, evaluate: { every: 0 } })).toThrow(
      /evaluate.every/,
    );
    await expect(plan.train({ data: text("story.txt"), steps: 2, evaluate: {} }).done).rejects.toThrow(
      /Nothing is held out to evaluate on/,
    );
  });

  it("evaluates what a run has saved, under another plan, as that run did", async () => {
    const data = text("story.txt", { heldOut: 0.1 });
    const run = plan.train({ data, steps: 4, seed: 7, learningRate: 5e-3, checkpoint: { folder: "judged" } });
    const { evaluation } = await run.done;
    expect(await plan.evaluate({ data, checkpoint: "judged" })).toEqual(evaluation);
    const gpt = modelIn(session, "gpt", MODEL);
    const alone = await gpt.plan(uniformPlan(gpt.spec, { ranks: 1, globalBatch: 2 }));
    const again = await alone.evaluate({ data, checkpoint: "judged" });
    expect(again).toMatchObject({ steps: 4, samples: evaluation!.samples, accuracy: null });
    expect(Math.abs(again.loss / evaluation!.loss - 1)).toBeLessThan(1e-6);
    // Without held-out samples, on all there are; untrained parameters know nothing.
    const untrained = await alone.evaluate({ data: text("story.txt"), samples: 20 });
    expect(untrained).toMatchObject({ steps: 0, samples: 20 });
    expect(Math.abs(untrained.loss - Math.log(256))).toBeLessThan(0.2);
    const checkpoint = "judged";
    await expect(alone.evaluate({ data, checkpoint, weights: "model" })).rejects.toThrow(/not both/);
    await expect(alone.evaluate({ data, samples: 0 })).rejects.toThrow(/at least 1 for samples, got 0/);
    await expect(alone.evaluate({ data: synthetic() })).rejects.toThrow(/Synthetic data has no end/);
    const wider = modelIn(session, "gpt", { ...MODEL, hidden: 32 });
    const other = await wider.plan(uniformPlan(wider.spec, { ranks: 1, globalBatch: 2 }));
    await expect(other.evaluate({ data, checkpoint })).rejects.toThrow(/is of another model \(gpt\)/);
  });

  it("starts with a smaller batch, which grows to the plan's, also when it is resumed", async () => {
    const gpt = modelIn(session, "gpt", MODEL);
    const on = await clusterIn(session).profile();
    const sizes = { ranks: on.data.ranksPerNode, globalBatch: 8, microBatches: 4 };
    const ramped = await gpt.plan(uniformPlan(gpt.spec, sizes), { on });
    const rampUp = { start: 4, increment: 2, samples: 16 };
    const phases = ramped.rampUp(rampUp);
    expect(phases.map(({ globalBatch, microBatches }) => [globalBatch, microBatches])).toEqual([
      [4, 2],
      [6, 3],
      [8, 4],
    ]);
    expect(phases.map(({ firstStep, firstSample }) => [firstStep, firstSample])).toEqual([
      [0, 0],
      [2, 8],
      [4, 20],
    ]);
    expect(phases[0]!.stepMs).toBeLessThan(phases[1]!.stepMs);
    expect(phases[2]!.stepMs).toBe(ramped.prediction.stepMs);
    const options = { data: text("story.txt", { heldOut: 0.1 }), steps: 6, learningRate: 5e-3 };
    const run = ramped.train({ ...options, rampUp, checkpoint: { folder: "ramp", every: 3 } });
    const report = await run.done;
    const own = run.records.filter(({ rank }) => rank === 0);
    expect(own.map(({ samples }) => samples)).toEqual([4, 4, 6, 6, 8, 8]);
    expect(report.evaluation!.loss).toBeLessThan(own[0]!.loss - 0.5);
    const resumed = ramped.train({ ...options, resume: "ramp/step-00000003" });
    await resumed.done;
    const rest = resumed.records.filter(({ rank }) => rank === 0);
    expect(rest.map(({ samples, loss }) => [samples, loss])).toEqual(
      own.slice(3).map(({ samples, loss }) => [samples, loss]),
    );
    const other = { ...rampUp, samples: 40 };
    expect(() => ramped.train({ ...options, resume: "ramp/step-00000003", rampUp: other })).toThrow(
      /its batch grew by .*"samples":16.*Leave rampUp out/,
    );
    expect(() => ramped.train({ ...options, rampUp: { ...rampUp, start: 3, increment: 1 } })).toThrow(
      /whole micro-batches/,
    );
    const long = ramped.train({ ...options, rampUp: { ...rampUp, samples: 400 } });
    expect(notices.at(-1)).toMatch(/grows for \d+ steps; a training of 6 ends at 4 of 8 samples a step/);
    long.stop();
    await long.done;
  });

  it("draws itself in a notebook, no more than ten times a second", async () => {
    const drawn: number[] = [];
    const host: NotebookHost = {
      display: (): DisplayHandle => ({ update: () => drawn.push(performance.now()) }),
      onInterrupt: () => () => {},
    };
    (globalThis as { [NOTEBOOK_HOST]?: NotebookHost })[NOTEBOOK_HOST] = host;
    const start = performance.now();
    const run = plan.train({ data: text("story.txt"), steps: 60 });
    // It draws itself already: as a cell's last value it adds nothing.
    expect(run[DISPLAY]()).toEqual({});
    await run.done;
    expect(drawn.length).toBeGreaterThan(0);
    expect(drawn.length).toBeLessThanOrEqual((performance.now() - start) / 100 + 2);
  });

  it("stops on an interrupt of the kernel, and keeps what was done", async () => {
    let interrupt: () => void = () => {};
    const host: NotebookHost = {
      display: () => ({ update: () => {} }),
      onInterrupt: (listener) => {
        interrupt = listener;
        return () => {};
      },
    };
    (globalThis as { [NOTEBOOK_HOST]?: NotebookHost })[NOTEBOOK_HOST] = host;
    const checkpoint = { folder: "interrupted" };
    const run = plan.train({ data: text("story.txt"), steps: 100_000, checkpoint });
    for await (const step of run) if (step.step === 3) interrupt();
    const report = await run.done;
    expect(run.checkpoints.map(({ step }) => step)).toEqual([report.steps]);
    expect(report.outcome).toBe("stopped");
    expect(report.steps).toBeGreaterThanOrEqual(4);
    expect(report.steps).toBeLessThan(1000);
  });

  it("trains plans made by hand, and names the rules that a plan breaks", async () => {
    const gpt = modelIn(session, "gpt", MODEL);
    const on = await clusterIn(session).profile();
    const byHand = await gpt.plan(uniformPlan(gpt.spec, { ranks: on.data.ranksPerNode, globalBatch: 8 }), {
      on,
    });
    const report = await byHand.train({ data: text("story.txt"), steps: 3 }).done;
    expect(report.steps).toBe(3);
    expect(byHand.explanation()).toBeNull();
    const broken = uniformPlan(gpt.spec, { ranks: on.data.ranksPerNode, globalBatch: 7 });
    await expect(gpt.plan(broken, { on })).rejects.toMatchObject({ code: "PLAN_INVALID" });
  });

  it("saves on the way, pauses, and resumes at the exact sample under this plan and another", async () => {
    const options = { data: text("story.txt"), steps: 12, learningRate: 5e-3 };
    const losses = (run: Run): readonly number[] =>
      run.records.filter(({ rank }) => rank === 0).map(({ loss }) => loss);
    const run = plan.train({ ...options, seed: 4, checkpoint: { folder: "saved", every: 5, keep: 2 } });
    for await (const { step } of run)
      if (step === 6) {
        run.pause();
        expect(run.status).toBe("paused");
        await new Promise((resolve) => setTimeout(resolve, 200));
        run.resume();
      }
    await run.done;
    expect(run.checkpoints.map(({ step }) => step)).toEqual([5, 10, 12]);
    expect(readdirSync(join(folder, "saved")).sort()).toEqual(["step-00000010", "step-00000012"]);
    const same = plan.train({ ...options, resume: "saved/step-00000010" });
    expect((await same.done).outcome).toBe("finished");
    expect(losses(same)).toEqual(losses(run).slice(10));
    expect(same.toString()).toMatch(/step 12 of 12/);
    expect(run.toString()).toMatch(/saved at step 12/);

    const gpt = modelIn(session, "gpt", MODEL);
    const on = await clusterIn(session).profile();
    const ranks = on.data.ranksPerNode;
    const pipeline = uniformPlan(gpt.spec, { ranks, globalBatch: 8, pipelineDegree: ranks, microBatches: 4 });
    const other = (await gpt.plan(pipeline, { on })).train({ ...options, resume: "saved/step-00000010" });
    await other.done;
    for (const [step, loss] of losses(other).entries())
      expect(Math.abs(loss / losses(run)[10 + step]! - 1)).toBeLessThan(1e-5);
    expect(other.records).toHaveLength(2 * ranks);
  });

  it("says in words what cannot be resumed or saved", async () => {
    const options = { data: text("story.txt"), steps: 20 };
    const resume = "saved";
    const checkpoint = { folder: "saved" };
    expect(() => plan.train({ ...options, checkpoint })).toThrow(
      /holds checkpoints of another training, up to step 12/,
    );
    expect(() => plan.train({ ...options, resume, seed: 5 })).toThrow(/ordered by seed 4/);
    expect(() => plan.train({ ...options, resume, steps: 12 })).toThrow(/has 12 steps already/);
    expect(() => plan.train({ ...options, resume: "nowhere" })).toThrow(/No checkpoint in .*nowhere/);
    const folderOfNothing = { folder: "new", every: 0 };
    expect(() => plan.train({ ...options, checkpoint: folderOfNothing })).toThrow(/checkpoint\.every, got 0/);
    const on = await clusterIn(session).profile();
    const by = { ranks: on.data.ranksPerNode };
    const gpt = modelIn(session, "gpt", MODEL);
    const sixteen = await gpt.plan(uniformPlan(gpt.spec, { ...by, globalBatch: 16 }), { on });
    expect(() => sixteen.train({ ...options, resume })).toThrow(/8 samples a step, this plan takes 16/);
    const wider = modelIn(session, "gpt", { ...MODEL, hidden: 32 });
    const otherModel = await wider.plan(uniformPlan(wider.spec, { ...by, globalBatch: 8 }), { on });
    expect(() => otherModel.train({ ...options, resume })).toThrow(/is of another model \(gpt\)/);
    const run = plan.train({ ...options, resume, data: synthetic() });
    expect(notices.slice(-2).join("\n")).toMatch(
      /trained on other data: the run goes on at sample 96 [\s\S]*was to have 12 steps, this one 20/,
    );
    expect(() => run.stop({ checkpoint: true })).toThrow(/has no folder for checkpoints/);
    run.stop();
    await run.done;
  });

  it("hears bad input before anything starts", () => {
    expect(() => plan.train({ data: text("nowhere.txt"), steps: 3 })).toThrow(
      /No file or folder "nowhere.txt"/,
    );
    expect(() => plan.train({ data: text("story.txt"), steps: 0 })).toThrow(/at least 1 for steps, got 0/);
    expect(() => plan.train({ data: text("story.txt"), steps: 3, seed: -1 })).toThrow(/seed/);
    expect(() => plan.save(join(folder, "no", "such", "folder.json"))).toThrow(/Cannot write the plan/);
    expect(() => modelIn(session, "gtp")).toThrow(/no model is called "gtp"/);
  });
});
