// What NCCL's communicators hold in device memory, by what they are used for: the driver's count, less the arena.
//   node test/bench/gpu/communicators.mjs [--json FILE]
import { writeFileSync } from "node:fs";
import { closeWorkers, dist, gpus, option, workers } from "./product.mjs";

const { microProgram } = dist("profiler/micro-program.js");
const { measureSteps } = dist("profiler/measure-steps.js");

if (gpus < 2) {
  console.log("Skipped: communicators need two GPUs.");
  process.exit(0);
}
const SMALL = 64;
const LARGE = Number(option("elements", String(2 ** 24)));
const everyone = Array.from({ length: gpus }, (_, rank) => rank);
const tensors = [
  { name: "small", dtype: "float32", shape: [SMALL] },
  { name: "large", dtype: "float32", shape: [LARGE] },
  { name: "piece", dtype: "float32", shape: [LARGE / gpus] },
  { name: "other", dtype: "float32", shape: [LARGE] },
];
const collective = (op, stream, input, output) => () => ({
  op,
  stream,
  waits: [],
  label: { phase: "reduce" },
  group: 0,
  reduction: "sum",
  input,
  output,
});
const smallSum = (stream) => collective("allReduce", stream, 0, 0);
const sum = (stream) => collective("allReduce", stream, 1, 1);
const gather = (stream) => collective("allGather", stream, 2, 1);
const scatter = (stream) => collective("reduceScatter", stream, 1, 2);
const exchangeAll = (stream) => collective("allToAll", stream, 1, 3);
const exchange = (stream) => (rank) => ({
  op: "exchange",
  stream,
  waits: [],
  label: { phase: "relayout" },
  group: 0,
  sends: rank < 2 ? [{ peer: 1 - rank, tensor: 1 }] : [],
  receives: rank < 2 ? [{ peer: 1 - rank, tensor: 3 }] : [],
});
const transfer = (direction, from) => (rank) => ({
  op: rank === from ? "send" : "receive",
  stream: `${direction}${rank === from ? "Out" : "In"}`,
  waits: [],
  label: { phase: "transfer" },
  peer: 1 - rank,
  tensor: 1,
});
const cases = {
  none: [],
  "small sum": [smallSum("compute")],
  sum: [sum("compute")],
  "small and large sum": [smallSum("compute"), sum("compute")],
  gather: [gather("gather")],
  scatter: [scatter("reduce")],
  "gather and scatter, one communicator": [gather("compute"), scatter("compute")],
  "sum, gather, scatter, three": [smallSum("compute"), gather("gather"), scatter("reduce")],
  "all to all": [exchangeAll("compute")],
  "sum and all to all": [smallSum("compute"), exchangeAll("compute")],
  "sum and exchange": [smallSum("compute"), exchange("compute")],
  "one way": [transfer("activations", 0)],
  "both ways": [transfer("activations", 0), transfer("gradients", 1)],
  "both ways and sum": [transfer("activations", 0), transfer("gradients", 1), smallSum("compute")],
};
const rows = [];
let none = 0;
for (const [name, makers] of Object.entries(cases)) {
  const pairs = /way/.test(name);
  const programs = everyone.map((rank) =>
    microProgram({
      rank,
      ranks: gpus,
      tensors,
      instructions: makers.filter(() => !pairs || rank < 2).map((make) => make(rank)),
      groups: [everyone],
    }),
  );
  const begin = performance.now();
  const steps = await measureSteps(await workers(), programs, new Map(), { warmup: 3, repeats: 1 });
  const loadMs = performance.now() - begin;
  const bytes = Math.max(...steps.flat().map((step) => step.memory.residentBytes - step.arenaBytes));
  if (name === "none") none = bytes;
  rows.push({ name, bytes, moreBytes: bytes - none, loadMs });
  console.log(
    `${name}: ${(bytes / 2 ** 20).toFixed(1)} MB, ${((bytes - none) / 2 ** 20).toFixed(1)} MB more; ${loadMs.toFixed(0)} ms`,
  );
}
await closeWorkers();
if (option("json")) writeFileSync(option("json"), JSON.stringify(rows, null, 1));
process.exit(0);
