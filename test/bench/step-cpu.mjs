// Does training do anything that profiles do not see? CPU time a step of every thread of two ranks: Programs as the
// profiler runs them (localProgram), and the same Programs as they train. CPU time, so other work on the machine hardly
// counts; what a thread waited for a core is told beside it.
//   npm run build && node test/bench/step-cpu.mjs [--steps 20]
// With --orders: what the canonical order of sums costs, on a model of the quickstart's size: CPU time a step of all
// threads of a rank, in either order, in turns. --sequence 32 leaves little beside parameters.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = process.env.GALVATRON_ROOT ?? join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { modelSpec } = require("./families/registry.js");
const { uniformPlan } = require("./plan/uniform.js");
const { localProgram } = require("./profiler/local-program.js");
const { compilePlan } = require("./runtime/compile-plan.js");
const { openHostPool } = require("./runtime/coordinator/host-pool.js");
const { hyperValues, optimizerFrom } = require("./runtime/optimizer.js");

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "20" },
    rounds: { type: "string", default: "5" },
    orders: { type: "boolean", default: false },
    sequence: { type: "string", default: "256" },
  },
});
const steps = Number(values.steps);
const model = modelSpec("gpt", { layers: 4, hidden: 128, heads: 4, sequence: 128 });
const PLANS = [
  ["data parallel", {}],
  ["ZeRO-3, 2 micro-batches", { dataParallel: "zero3", microBatches: 2 }],
  ["tensor parallel", { tensorDegree: 2 }],
  ["pipeline, 4 micro-batches", { pipelineDegree: 2, microBatches: 4 }],
];

const pool = await openHostPool(2, 1);
const hyper = new Uint8Array(hyperValues(optimizerFrom({}, 10), 0, 10).buffer);
if (values.orders) {
  await compareOrders();
  await pool.close();
  process.exit(0);
}
console.log("| plan | profiled: CPU ms | training: CPU ms | all other threads | waited for a core | step |");
console.log("|---|---|---|---|---|---|");
for (const [name, options] of PLANS) {
  const { programs, graphs } = compilePlan(
    model,
    uniformPlan(model, { ranks: 2, globalBatch: 8, ...options }),
  );
  const alone = programs.map((program, rank) => localProgram(program, rank).program);
  // Twice each, in turns: what the machine does meanwhile changes.
  const found = { alone: [], training: [] };
  for (let round = 0; round < 2; round++) {
    found.alone.push(await measure(alone, graphs));
    found.training.push(await measure(programs, graphs));
  }
  const mean = (which, part) =>
    (found[which].reduce((sum, one) => sum + one[part], 0) / found[which].length).toFixed(1);
  console.log(
    `| ${name} | ${mean("alone", "executor")} | ${mean("training", "executor")} | ${mean("training", "others")} | ${mean("training", "waited")} | ${mean("training", "stepMs")} |`,
  );
}
await pool.close();

/** Medians over rounds, and the canonical order's own: the median of each round's difference. */
async function compareOrders() {
  const quickstart = modelSpec("gpt", {
    layers: 8,
    hidden: 256,
    heads: 8,
    sequence: Number(values.sequence),
  });
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
  console.log(
    "| plan | deferred: CPU ms | canonical: CPU ms | difference | step, deferred | step, canonical |",
  );
  console.log("|---|---|---|---|---|---|");
  for (const [name, options] of [
    ["data parallel, 2 micro-batches", { microBatches: 2 }],
    ["data parallel, 4 micro-batches", { microBatches: 4 }],
    ["ZeRO-1, 4 micro-batches", { microBatches: 4, dataParallel: "zero1" }],
    ["ZeRO-2, 4 micro-batches", { microBatches: 4, dataParallel: "zero2" }],
    ["ZeRO-3, 4 micro-batches", { microBatches: 4, dataParallel: "zero3" }],
  ]) {
    const base = uniformPlan(quickstart, { ranks: 2, globalBatch: 8, ...options });
    const compiled = ["deferred", "canonical"].map((gradientOrder) =>
      compilePlan(quickstart, { ...base, gradientOrder }),
    );
    const rounds = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      const found = [];
      for (const { programs, graphs } of compiled) found.push(await measure(programs, graphs));
      rounds.push(found);
    }
    const cpu = (one) => one.executor + one.others;
    const of = (order, part) => median(rounds.map((found) => part(found[order]))).toFixed(1);
    const more = median(rounds.map(([deferred, canonical]) => cpu(canonical) / cpu(deferred) - 1));
    console.log(
      `| ${name} | ${of(0, cpu)} | ${of(1, cpu)} | ${(100 * more).toFixed(1)} % | ${of(0, (one) => one.stepMs)} | ${of(1, (one) => one.stepMs)} |`,
    );
  }
}

/** Per step, the mean over ranks: CPU of the thread that computes, of all others, and what the first waited for a core. */
async function measure(programs, graphs) {
  await pool.load({ programs, graphs, seed: 1, feed: null, firstStep: 0 });
  for (const program of programs)
    await pool.write(program.rank, [{ tensor: program.io.hyper, bytes: hyper }]);
  await pool.run(3);
  const before = pool.pids.map(threadsOf);
  const ran = await pool.run(steps);
  const spent = pool.pids
    .map(threadsOf)
    .map((threads, rank) =>
      [...threads]
        .map(([thread, times]) => times.map((ms, i) => (ms - (before[rank].get(thread)?.[i] ?? 0)) / steps))
        .sort((a, b) => b[0] - a[0]),
    );
  const mean = (of) => spent.reduce((sum, threads) => sum + of(threads), 0) / spent.length;
  return {
    executor: mean(([first]) => first[0]),
    waited: mean(([first]) => first[1]),
    others: mean(([, ...rest]) => rest.reduce((sum, [cpu]) => sum + cpu, 0)),
    stepMs: ran.reduce((sum, ranks) => sum + Math.max(...ranks.map((step) => step.stepMs)), 0) / steps,
  };
}

/** CPU and waiting time of every thread, in ms. */
function threadsOf(pid) {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((thread) => [
      thread,
      readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8")
        .split(" ")
        .slice(0, 2)
        .map((nanoseconds) => Number(nanoseconds) / 1e6),
    ]),
  );
}
