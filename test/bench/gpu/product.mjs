// What the GPU benchmarks need of the built product (dist/, build/native).
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const require = createRequire(import.meta.url);
export const dist = (name) =>
  require(path.join(process.env.GALVATRON_DIST ?? path.join(root, "dist", "src"), name));
export const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
export const state = process.env.STATE ?? path.join("/tmp", "galvatron-gpu");
mkdirSync(state, { recursive: true });

const { modelSpec } = dist("families/registry.js");
const { loadAddon } = dist("device/load-addon.js");
const { onnxRuntimePath } = dist("device/onnx-runtime-path.js");
const { cudaMachine, hostMachine } = dist("runtime/machine.js");
const { machinePoolOptions } = dist("runtime/coordinator/host-pool.js");
const { openWorkerPool } = dist("runtime/coordinator/worker-pool.js");
const { compilePlan } = dist("runtime/compile-plan.js");
const { syntheticDataset } = dist("runtime/data/find-data.js");
const { optimizerFrom } = dist("runtime/optimizer.js");

const device = option("device", "cuda");
const runtime = process.env.GALVATRON_ONNX_RUNTIME ?? onnxRuntimePath();
export const tiny = option("tiny") !== undefined || process.argv.includes("--tiny");

/** GPUs of this machine, or (--device host) two ranks of the host to try the scripts. */
export const machine =
  device === "host"
    ? hostMachine(Number(option("ranks", "2")))
    : cudaMachine(
        loadAddon().probe({ onnxRuntimePath: runtime, libraries: false }),
        option("ranks") && Number(option("ranks")),
      );
if (!machine) {
  console.log("No GPU can be used here; galvatron doctor says what is missing.");
  process.exit(3);
}
export const gpus = machine.cluster.ranksPerNode;
/** Gradients are reduced in bfloat16, as the peers do. */
export const precision = option(
  "precision",
  machine.cluster.device === "cuda" ? "bfloat16-gradients" : "float32",
);

const without = path.join(state, "no-capture");
/** From now on steps are enqueued, not captured: said in every result. */
export function stopCapturing(why) {
  writeFileSync(without, why);
  process.env.GALVATRON_CUDA_CAPTURE = "0";
}
if (existsSync(without)) process.env.GALVATRON_CUDA_CAPTURE = "0";
export const captured = () => process.env.GALVATRON_CUDA_CAPTURE !== "0";

let pool = null;
export async function workers(ranks = gpus) {
  if (pool && (pool.failure || pool.options.ranks !== ranks)) await closeWorkers();
  pool ??= await openWorkerPool({
    ...machinePoolOptions(machine, ranks),
    onnxRuntimePath: runtime,
    deadlineMs: Number(option("deadline", "30000")),
  });
  return pool;
}
export async function closeWorkers() {
  await pool?.close().catch(() => {});
  pool = null;
}

/** Trains some steps under a plan in the open workers: losses, norms, times, the driver's count of memory. */
export async function train(model, plan, steps, { seed = 1, ranks = gpus, lowered } = {}) {
  const compiled = lowered ?? compilePlan(model, plan, { device: machine.cluster.device });
  const used = await workers(ranks);
  const dataset = syntheticDataset(model, 7);
  const optimizer = optimizerFrom(
    {
      learningRate: {
        peak: tiny || model.layers.length < 4 ? 1e-3 : 1e-4,
        warmupSteps: 0,
        schedule: { kind: "constant" },
      },
    },
    steps,
  );
  const begin = performance.now();
  await used.load({ ...compiled, seed, feed: { dataset, optimizer, steps }, firstStep: 0 });
  const loadMs = performance.now() - begin;
  const ran = await used.run(steps);
  const own = (field) => ran.map((all) => Math.max(...all.map((rank) => rank[field])));
  return {
    programs: compiled.programs,
    loadMs,
    last: ran.at(-1),
    losses: ran.map((all) => all.reduce((sum, rank) => sum + rank.losses.reduce((a, b) => a + b, 0), 0)),
    norms: ran.map((all) => all[0].gradientNorm),
    stepMs: own("stepMs"),
    wallMs: own("wallMs"),
    memoryBytes: ran.at(-1).map((rank) => rank.memory.peakBytes),
    arenaBytes: ran.at(-1).map((rank) => rank.arenaBytes),
    onnxRuntimeBytes: ran.at(-1).map((rank) => rank.onnxRuntimeBytes),
  };
}

/** The middle of what came after the capture. */
export function settled(values, skip = 3) {
  const rest = values.slice(Math.min(skip, values.length - 1)).sort((a, b) => a - b);
  return rest[rest.length >> 1];
}

/** Where a rank's step went, by instruction, in ms. */
export function breakdown(program, times) {
  const sums = {};
  program.instructions.forEach((instruction, i) => {
    const key =
      instruction.op === "run"
        ? `run ${program.graphs[instruction.graph].name}`
        : `${instruction.op} (${instruction.stream})`;
    sums[key] = (sums[key] ?? 0) + times[2 * i + 1] - times[2 * i];
  });
  return Object.fromEntries(
    Object.entries(sums)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 14),
  );
}

const COMMUNICATES = new Set([
  "allReduce",
  "allGather",
  "reduceScatter",
  "allToAll",
  "broadcast",
  "exchange",
  "send",
  "receive",
]);
/** Length of the union of intervals, in ms. */
function unionMs(intervals) {
  let sum = 0;
  let reached = -Infinity;
  for (const [start, end] of [...intervals].sort((a, b) => a[0] - b[0])) {
    sum += Math.max(0, end - Math.max(start, reached));
    reached = Math.max(reached, end);
  }
  return sum;
}
/** A rank's step: computing, communication that no computing hides, and neither; in ms. */
export function exposure(program, times, stepMs) {
  const spans = program.instructions.map(({ op }, i) => [op, [times[2 * i], times[2 * i + 1]]]);
  const computeMs = unionMs(spans.filter(([op]) => !COMMUNICATES.has(op)).map(([, span]) => span));
  const busyMs = unionMs(spans.map(([, span]) => span));
  return { stepMs, computeMs, exposedMs: busyMs - computeMs, idleMs: stepMs - busyMs };
}

export const today = () => new Date().toISOString().slice(0, 10);
const resultFile = path.resolve(option("results", path.join(root, "docs", "benchmarks", "gpu.json")));
/** Replaces the entry of this name in the result file. */
export function record(name, entry) {
  alone(() => write(name, entry));
}
/** Puts rows into the list of predictions beside the result file, in the place of those of the same predictions. */
export function recordRows(rows) {
  const file = path.join(path.dirname(resultFile), "gpu-predictions.json");
  alone(() => {
    const others = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
    const hashes = new Set(rows.map((row) => row.hash));
    const kept = [...others.filter((row) => !hashes.has(row.hash)), ...rows];
    writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
  });
}
/** Several processes may write results. */
function alone(write) {
  const lock = `${resultFile}.lock`;
  mkdirSync(path.dirname(resultFile), { recursive: true });
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let tries = 0; tries < 500; tries++) {
    try {
      mkdirSync(lock);
      break;
    } catch {
      Atomics.wait(pause, 0, 0, 10);
    }
  }
  try {
    write();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}
function write(name, entry) {
  const all = existsSync(resultFile) ? JSON.parse(readFileSync(resultFile, "utf8")) : [];
  const row = {
    name,
    ours: null,
    peer: null,
    ratio: null,
    unit: "ms",
    device: `${gpus} x ${machine.cluster.deviceName}`,
    date: today(),
    command: process.env.BENCH_COMMAND ?? "npm run bench:gpu",
    ...entry,
  };
  const rest = all.filter((other) => other.name !== name);
  writeFileSync(
    resultFile,
    `${JSON.stringify(
      [...rest, row].sort((a, b) => (a.name < b.name ? -1 : 1)),
      null,
      2,
    )}\n`,
  );
  console.log(
    `== ${name}: ours ${show(row.ours)}, peer ${show(row.peer)}, ratio ${show(row.ratio)} ${row.unit}`,
  );
}
const show = (x) => (typeof x === "number" ? x.toPrecision(4) : "none");

export const models = tiny
  ? {
      gpt: modelSpec("gpt", { layers: 3, hidden: 64, heads: 4, sequence: 32, vocabulary: 128, tied: false }),
      llama: modelSpec("llama", { layers: 3, hidden: 64, heads: 4, sequence: 32, vocabulary: 128 }),
    }
  : {
      gpt: modelSpec("gpt", {
        layers: 24,
        hidden: 2048,
        heads: 16,
        sequence: 2048,
        vocabulary: 50304,
        tied: false,
      }),
      llama: modelSpec("llama", {
        layers: 32,
        hidden: 4096,
        heads: 32,
        feedForward: 11008,
        sequence: 2048,
        vocabulary: 32000,
      }),
    };
