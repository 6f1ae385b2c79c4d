import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { BarTrace } from "../../src/display/figure.js";
import { cluster, model, synthetic, uniformPlan } from "../../src/index.js";

const machine = cluster("hgx-h100", { ranksPerNode: 4 });
const gpt = model("gpt", { layers: 2, hidden: 512, heads: 8, sequence: 512, vocabulary: 1024 });
const byHand = (options: object) =>
  gpt.plan(uniformPlan(gpt.spec, { ranks: 4, globalBatch: 8, precision: "bfloat16", ...options }), {
    on: machine,
  });

describe("a machine that is planned for", () => {
  it("needs no profiling, searches, and says that nothing can be trained there", async () => {
    expect(String(machine)).toContain("estimated from published figures");
    const plan = await gpt.search("8GB", { on: machine, globalBatch: 8 });
    expect(plan.report.gap).toBe(0);
    expect(plan.memoryBytesByRank().length).toBe(4);
    expect(() => plan.train({ data: synthetic(), steps: 1 })).toThrow(/a machine that is not here/);
  });

  it("names the presets there are", () => {
    expect(() => cluster("hgx-h300")).toThrow(/hgx-h100/);
  });

  it("has the same answer twice", async () => {
    const [one, two] = await Promise.all(
      [0, 1].map(() => gpt.search("8GB", { on: machine, globalBatch: 8 })),
    );
    expect(one!.data).toEqual(two!.data);
    expect(one!.explain().figures).toEqual(two!.explain().figures);
  });
});

describe("what a plan tells", () => {
  it("the messages of a rank: gathers under ZeRO-3, none of them under DDP", async () => {
    const phases = async (options: object): Promise<string[]> =>
      (await byHand(options)).messages().map(({ phase, message }) => `${phase} ${message}`);
    expect(await phases({})).toEqual(["reduce all-reduce", "optimizer all-reduce"]);
    expect(await phases({ dataParallel: "zero3" })).toContain("gather all-gather");
    const [reduce] = (await byHand({})).messages();
    const float32MB = (count: number): number => (count * 4) / 2 ** 20;
    const parameters = gpt.spec.layers.length * gpt.spec.kinds["decoder"]!.parameters;
    expect(reduce!.sentMB).toBeGreaterThan(1.5 * float32MB(parameters));
    await expect(byHand({}).then((plan) => plan.messages(4))).rejects.toThrow(/rank from 0 to 3/);
  });

  it("who holds what of a layer: everything under DDP, a quarter each under ZeRO-3", async () => {
    const shares = async (options: object): Promise<number[]> => {
      const { data } = (await byHand(options)).holders(1).figures[0]!;
      return data.flatMap((trace) => (trace as BarTrace).x.map(Number));
    };
    expect(await shares({})).toEqual(Array(12).fill(100));
    for (const share of await shares({ dataParallel: "zero3" })) expect(share).toBeCloseTo(25, 6);
    await expect(byHand({}).then((plan) => plan.holders(2))).rejects.toThrow(/layer from 0 to 1/);
  });

  it("what would be if one quantity were different, and asks for one", async () => {
    const plan = await gpt.search("8GB", { on: machine, globalBatch: 8 });
    const { data } = plan.sweep({ bandwidth: [0.1, 1, 10] }).figures[0]!;
    const [slow, same, fast] = data[0]!.y as number[];
    expect(slow).toBeLessThan(same!);
    expect(fast).toBeGreaterThanOrEqual(same!);
    expect(same).toBeCloseTo(plan.prediction.samplesPerSecond, 6);
    expect(() => plan.sweep({})).toThrow(/one quantity/);
    expect(() => plan.sweep({ memory: ["1GB"], nodes: [1] })).toThrow(/one quantity/);
  });

  it("the Pareto front of memory against speed, both rising", async () => {
    const plan = await gpt.search("8GB", { on: machine, globalBatch: 8 });
    const front = plan.landscape(5).figures[0]!.data.find(({ name }) => name === "best for its memory")!;
    const rising = (values: readonly unknown[]): boolean =>
      values.every((value, i) => i === 0 || Number(value) > Number(values[i - 1]));
    expect(front.x.length).toBeGreaterThan(1);
    expect(rising(front.x) && rising(front.y)).toBe(true);
  });

  it("its step as a trace for Perfetto", async () => {
    const folder = mkdtempSync(join(tmpdir(), "galvatron-trace-"));
    const plan = await byHand({ tensorDegree: 2 });
    plan.saveTrace(join(folder, "step.json"));
    const { traceEvents } = JSON.parse(readFileSync(join(folder, "step.json"), "utf8"));
    expect(traceEvents.filter(({ ph }: { ph: string }) => ph === "X").length).toBe(
      plan.predictedTimeline().spans.length,
    );
    expect(() => plan.saveTrace(join(folder, "nowhere/step.json"))).toThrow(/Cannot write the trace/);
    rmSync(folder, { recursive: true });
  });
});
