// The compatibility search against the ancestor's own results and times.
//   npm run build:ts && node test/bench/ancestor.bench.mjs [oracle folder]
// Writes docs/benchmarks/ancestor-search.md and docs/benchmarks/ancestor-unrestricted.md.
// Every time is taken in a fresh process (nothing cached, nothing warmed), three of them per case, the median kept.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const DIST = process.env.GALVATRON_DIST ?? join(ROOT, "dist");
const require = createRequire(import.meta.url);
const load = (path) => require(join(DIST, "src", path));
const { runCase } = load("ancestor/run-case.js");
const RUNS = Number(process.env.GALVATRON_RUNS ?? 3);

/** In a fresh process: one case of the list, its result, and what the search itself took of clock and processor. */
function one(oracle, index, which) {
  const { result: _, ...searched } = cases(oracle)[index];
  const marks = [];
  const clock = () => {
    marks.push(process.cpuUsage());
    return performance.now();
  };
  const result = runCase(
    searched,
    (path) => readFileSync(join(oracle, "inputs", path), "utf8"),
    clock,
    which,
  );
  const cpuMs = (marks[1].user + marks[1].system - marks[0].user - marks[0].system) / 1000;
  process.stdout.write(JSON.stringify({ ...result, cpuMs, peakMB: process.resourceUsage().maxRSS / 1024 }));
}

function cases(oracle) {
  return readFileSync(join(oracle, "cases.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
    .filter((row) => row.engine === "galvatron-3.0");
}

function fresh(oracle, index, which, runs = RUNS) {
  const results = [];
  for (let i = 0; i < runs; i++) {
    const child = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), "--one", oracle, String(index), which],
      { encoding: "utf8", maxBuffer: 2 ** 26 },
    );
    if (child.status !== 0) throw new Error(child.stderr);
    results.push(JSON.parse(child.stdout));
  }
  return {
    ...results[0],
    searchMs: median(results.map((result) => result.searchMs)),
    cpuMs: median(results.map((result) => result.cpuMs)),
  };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function main(oracle) {
  const list = cases(oracle);
  const rows = list.map((row, index) => {
    process.stderr.write(`${row.id}\n`);
    return {
      row,
      even: fresh(oracle, index, "even"),
      open: fresh(oracle, index, "unrestricted", 1),
      like: fresh(oracle, index, "ancestor", 1),
    };
  });
  writeFileSync(join(ROOT, "docs/benchmarks/ancestor-search.md"), searchPage(rows));
  writeFileSync(join(ROOT, "docs/benchmarks/ancestor-unrestricted.md"), unrestrictedPage(oracle, rows));
}

function machine() {
  return (
    `Measured ${new Date().toISOString().slice(0, 10)} on ${cpus()[0]?.model.trim()}, ${cpus().length} cores, ` +
    `Node ${process.versions.node}, load average ${loadavg()[0].toFixed(1)} while measuring${loadavg()[0] > cpus().length + 1 ? " (so that only processor time says anything)" : ""}.`
  );
}

const percent = (ratio) => `${((ratio - 1) * 100).toFixed(3)} %`;
const isFixed = ({ row }) =>
  row.args.batch_size_info.settle_bsz > 0 && row.args.batch_size_info.settle_chunk > 0;
const isEightGpus = ({ row }) =>
  row.args.hardware_info.num_nodes * row.args.hardware_info.num_gpus_per_node === 8;

function searchPage(rows) {
  const timed = rows.filter((entry) => isFixed(entry) && isEightGpus(entry));
  const heavy = rows.filter((entry) => entry.row.result.searchCpuSeconds >= 5);
  const speedups = heavy.map((entry) => (entry.row.result.searchCpuSeconds * 1000) / entry.even.cpuMs);
  const found = rows.filter((entry) => entry.row.result.status === "ok");
  const worst = Math.min(...found.map((entry) => entry.even.throughput / entry.row.result.throughput));
  const best = Math.max(...found.map((entry) => entry.even.throughput / entry.row.result.throughput));
  const alike = rows.filter(
    ({ row, like }) =>
      row.result.status === like.status &&
      (like.status !== "ok" || Math.abs(like.throughput / row.result.throughput - 1) < 1e-6),
  );
  const lost = found.filter((entry) => !entry.even.executable);
  const kept = found.filter((entry) => entry.even.executable);
  const ratios = kept.map((entry) => entry.even.throughput / entry.row.result.throughput);
  const invented = rows.filter((entry) => entry.row.result.status !== "ok" && entry.even.status === "ok");
  const lines = rows.map(
    ({ row, even }) =>
      `| ${row.id} | ${even.status} | ${even.throughput.toFixed(4)} | ` +
      `${row.result.status === "ok" ? `${row.result.throughput.toFixed(4)} | ${percent(even.throughput / row.result.throughput)}` : "– | –"} | ` +
      `${even.searchMs.toFixed(1)} | ${even.cpuMs.toFixed(1)} | ${row.result.searchCpuSeconds.toFixed(2)} | ` +
      `${((row.result.searchCpuSeconds * 1000) / even.cpuMs).toFixed(0)} |`,
  );
  return `# The compatibility search against the ancestor

\`npm run build:ts && node test/bench/ancestor.bench.mjs\` wrote this page. ${machine()}
Every time is the median of ${RUNS} fresh processes, from parsed profiles to the plan, fits and tables included. The
ancestor's figures are its own processor seconds (C++ core, one thread) for the same case on another machine, from the
oracle folder. Our processor time counts all threads of the process, compiler and collector too.

- ${rows.length} cases of version 3.0; the ancestor solved ${found.length}. Our throughput by its own cost model is between
  ${percent(worst)} and +${percent(best)} from its throughput; where it found nothing, we found nothing (${invented.length} exceptions).
- No runtime can execute the plan of ${lost.length} of these cases, because the ancestor's model floors something; they are named
  below the table. Without them the difference is between ${percent(Math.min(...ratios))} and +${percent(Math.max(...ratios))} over ${kept.length} cases.
- Asked to choose like the ancestor (its per-stage objective with its switch costs), we come to its throughput within
  1e-6 in ${alike.length} of ${rows.length} cases.
- ${timed.length} cases of 8 GPUs with fixed batch and micro-batches: median ${median(timed.map((entry) => entry.even.searchMs)).toFixed(1)} ms
  (${median(timed.map((entry) => entry.even.cpuMs)).toFixed(1)} ms of processor time).
- ${heavy.length} cases that took the ancestor at least 5 s: median ${median(speedups).toFixed(0)} times less processor time,
  between ${Math.min(...speedups).toFixed(0)} and ${Math.max(...speedups).toFixed(0)} times.
- Peak memory of the process: at most ${Math.max(...rows.map((entry) => entry.even.peakMB)).toFixed(0)} MB.
- Every plan below is proven optimal for the ancestor's step time in its own space: ${rows.every((entry) => entry.even.proven) ? "yes, all" : "not all"}.

| case | status | samples/s | ancestor | difference | ms | CPU ms | ancestor CPU s | times less CPU |
|---|---|---|---|---|---|---|---|---|
${lines.join("\n")}

Not executable:
${lost.map((entry) => `- ${entry.row.id}: ${entry.even.reasons[0]}`).join("\n")}
`;
}

/** Seconds per stage and micro-batch of a plan, and what of its gradient synchronisation sticks out. */
function stageTimes(oracle, row, result) {
  const { readCase, readInputs } = load("ancestor/case-json.js");
  const { fitProfile } = load("ancestor/fit-profile.js");
  const { costOptions } = load("ancestor/search-space.js");
  const { parseStrategy } = load("ancestor/ancestor-strategy.js");
  const { layerTimes } = load("ancestor/cost/layer-time.js");
  const { vocabularyTimes } = load("ancestor/cost/vocabulary-time.js");
  const { localSamples } = load("ancestor/cost/local-samples.js");
  const search = readCase(row, row.id);
  const profile = fitProfile(
    search,
    readInputs(search, (path) => readFileSync(join(oracle, "inputs", path), "utf8")),
  );
  const { globalBatch, microBatches, stageLayers } = result.plan;
  const shared = search.defaultDataParallel === "ddp" ? "ddp" : "zero2";
  const samples = (strategy) => localSamples(globalBatch, microBatches, strategy.data);
  const vocabulary = parseStrategy(result.vocabulary, shared);
  const times = [...vocabularyTimes(profile, costOptions(search), vocabulary, samples(vocabulary)).unsynced];
  const stageOf = stageLayers.flatMap((count, stage) => new Array(count).fill(stage));
  result.strategies.forEach((text, layer) => {
    const strategy = parseStrategy(text, shared);
    times[stageOf[layer]] += layerTimes(
      profile,
      costOptions(search),
      0,
      strategy,
      samples(strategy),
    ).unsynced;
  });
  return times;
}

/** Step time of a pipeline whose slowest stage counts once per micro-batch, as a real one's does. */
function honest(times, microBatches) {
  return times.reduce((sum, time) => sum + time, 0) + (microBatches - 1) * Math.max(...times);
}

function unrestrictedPage(oracle, rows) {
  const solved = rows.filter((entry) => entry.open.status === "ok");
  const lines = solved.map(({ row, even, open }) => {
    const rate = (result) =>
      result.plan.globalBatch / honest(stageTimes(oracle, row, result), result.plan.microBatches);
    const evenHonest = even.status === "ok" ? rate(even) : 0;
    const openHonest = rate(open);
    const division = (result) => (result.status === "ok" ? result.plan.stageLayers.join(" ") : "–");
    return {
      gain: even.status === "ok" ? open.throughput / even.throughput : Infinity,
      honest: evenHonest > 0 ? openHonest / evenHonest : Infinity,
      text:
        `| ${row.id} | ${even.throughput.toFixed(4)} | ${open.throughput.toFixed(4)} | ${percent(open.throughput / even.throughput)} | ` +
        `${division(even)} | ${division(open)} | ${percent(openHonest / evenHonest)} |`,
    };
  });
  const better = lines.filter((line) => line.gain > 1 + 1e-9);
  const real = better.filter((line) => line.honest > 1 + 1e-9);
  return `# What the ancestor's restrictions cost, by its own cost model

\`npm run build:ts && node test/bench/ancestor.bench.mjs\` wrote this page. ${machine()}

\`--unrestricted\` lifts even division and powers of two and divides layers over stages together with their strategies.
Of ${solved.length} solved cases none is slower and ${better.length} are faster, by up to ${percent(Math.max(...better.map((line) => line.gain)))}.

**Most of this is not real.** The ancestor's step time reads the first stage, the last stage and the sum of all; a stage
in the middle counts once and not once per micro-batch. An optimum over divisions therefore piles layers onto middle
stages. The last column prices both plans with every stage counted (sum of stages and (m − 1) times the slowest, same
layer times): by that, ${real.length} of the ${better.length} are better and ${better.length - real.length} are not. Plans for machines come from our own
cost model, whose pipeline time is the schedule's exact recurrence; this table shows why.

| case | even, samples/s | unrestricted | gain by its model | even division | unrestricted division | gain with every stage counted |
|---|---|---|---|---|---|---|
${lines.map((line) => line.text).join("\n")}
`;
}

if (process.argv[2] === "--one") {
  one(process.argv[3], Number(process.argv[4]), process.argv[5]);
} else {
  main(process.argv[2] ?? join(ROOT, "../shared/oracle"));
}
