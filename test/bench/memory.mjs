// What the operating system counts for every rank's process beside what its Program predicts, for random plans.
//   npm run build && node test/bench/memory.mjs FOLDER [--plans 100] [--seed 29] [--write]
// Seed 17 draws the plans that the constants of process-memory.ts were fitted to; 29, the default, those they are judged by.
// Each plan is a file in FOLDER and is not run again; every plan runs in processes of its own. --write makes
// docs/benchmarks/memory.md of all files in FOLDER.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = process.env.GALVATRON_ROOT ?? join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { modelSpec } = require("./families/registry.js");
const { describePlan } = require("./plan/describe-plan.js");
const { drawPlan } = require("./plan/draw-plan.js");
const { messageBytesByRank } = require("./program/message-memory.js");
const { processMemory } = require("./program/process-memory.js");
const { matmulGraph } = require("./profiler/matmul-graph.js");
const { measureReserve } = require("./profiler/measure-matmul.js");
const { microProgram } = require("./profiler/micro-program.js");
const { compilePlan } = require("./runtime/compile-plan.js");
const { openHostPool } = require("./runtime/coordinator/host-pool.js");
const { hashNumbers } = require("./runtime/data/sample-order.js");
const { hyperValues, optimizerFrom } = require("./runtime/optimizer.js");

const MB = 2 ** 20;
const PAGE = 4096;
const LARGE_PAGE = 2 ** 21;
const STEPS = 8;
const GLOBAL_BATCH = 8;
const SMALL = { layers: 4, hidden: 256, heads: 8, vocabulary: 4096 };
const MODELS = [
  ["gpt", { ...SMALL, sequence: 128 }],
  ["llama", { ...SMALL, keyValueHeads: 8, sequence: 128 }],
  ["bert", { ...SMALL, sequence: 128 }],
  ["t5", { ...SMALL, layers: 2, sequence: 64, encoderSequence: 128 }],
  ["vit", { layers: 4, hidden: 256, heads: 8, image: 96, patch: 8 }],
  ["swin", { depths: [2, 2], hidden: 96, heads: 4, image: 64, patch: 2, window: 8 }],
];
const RANKS = [4, 2, 8, 4, 2, 4, 2, 2, 4, 2, 8, 2, 4, 2, 2, 4, 2];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    plans: { type: "string", default: "100" },
    seed: { type: "string", default: "29" },
    write: { type: "boolean", default: false },
  },
});
const folder = positionals[0];
if (!folder) throw new Error("Name a folder for the results.");
mkdirSync(folder, { recursive: true });
if (values.write) write();
else await runAll();

async function runAll() {
  // Four processes, for one is seen to differ from the next by up to 3 MB.
  const alone = await openHostPool(4, 1);
  const { reservedBytes } = await measureReserve(alone, matmulGraph);
  const workspaces = new Map();
  for (let index = 0; index < Number(values.plans); index++) {
    const file = join(folder, `${String(index).padStart(3, "0")}.json`);
    if (existsSync(file)) continue;
    const model = modelSpec(...MODELS[index % MODELS.length]);
    let drawn = 0;
    const pick = (count) => hashNumbers(Number(values.seed), index, drawn++) % count;
    const ranks = RANKS[Math.floor(index / MODELS.length) % RANKS.length];
    const plan = drawPlan(model, { ranks, globalBatch: GLOBAL_BATCH }, pick);
    const lowered = compilePlan(model, plan);
    await measureWorkspaces(alone, lowered, workspaces);
    const result = await runPlan(lowered, workspaces, reservedBytes);
    writeFileSync(`${file}.part`, JSON.stringify({ family: model.family, plan, ranks: result }));
    renameSync(`${file}.part`, file);
    const worst = Math.max(
      ...result.map((rank, i) =>
        Math.abs(predictedOf(lowered.programs, i, rank).totalBytes / rank.peakBytes - 1),
      ),
    );
    console.log(`${index} ${model.family}: worst ${(100 * worst).toFixed(2)} %, ${describePlan(plan)[0]}`);
  }
  await alone.close();
}

function modelOf(family) {
  return modelSpec(...MODELS.find(([name]) => name === family));
}

function predictedOf(programs, rank, { workspace, reservedBytes, sharedBytesPerRank }) {
  const messageBytes = messageBytesByRank(programs, sharedBytesPerRank)[rank];
  return processMemory(programs[rank], workspace, reservedBytes, messageBytes);
}

/** What each graph takes of ONNX Runtime's memory: run on its own, before any plan that has it. */
async function measureWorkspaces(pool, { programs, graphs }, known) {
  const refs = new Map(programs.flatMap((program) => program.graphs.map((graph) => [graph.id, graph])));
  const fresh = [...refs.values()].filter(({ id }) => !known.has(id));
  if (fresh.length === 0) return;
  const tensors = [];
  const instructions = fresh.map((graph, index) => {
    const add = ({ name, dtype, shape }) => tensors.push({ name, dtype, shape }) - 1;
    return {
      op: "run",
      stream: "compute",
      waits: [],
      label: { phase: "forward" },
      graph: index,
      inputs: graph.inputs.map(add),
      outputs: graph.outputs.map(add),
    };
  });
  const program = microProgram({ rank: 0, ranks: 1, tensors, instructions, graphs: fresh });
  // Three times: V8's compiler may take and give back memory while a session is made.
  const steps = [];
  for (let time = 0; time < 3; time++) {
    await pool.load({ programs: [program], graphs, seed: null, feed: null, firstStep: 0 });
    steps.push((await pool.run(2)).at(-1)[0].graphBytes);
  }
  const medianOf = (place) => steps.map((bytes) => bytes[place]).sort((a, b) => a - b)[1];
  for (const [index, { id }] of fresh.entries())
    known.set(id, {
      run: medianOf(3 * index),
      constants: medianOf(3 * index + 1),
      session: medianOf(3 * index + 2),
    });
}

async function runPlan(lowered, workspaces, reservedBytes) {
  const { programs, graphs } = lowered;
  const pool = await openHostPool(programs.length, 1);
  try {
    await pool.load({ programs, graphs, seed: 1, feed: null, firstStep: 0 });
    const optimizer = optimizerFrom({}, STEPS);
    let last;
    for (let step = 0; step < STEPS; step++) {
      const hyper = new Uint8Array(hyperValues(optimizer, step, STEPS).buffer);
      // Tokens and pixels stay zero: what a loader holds is no part of the Program.
      for (const program of programs)
        await pool.write(program.rank, [{ tensor: program.io.hyper, bytes: hyper }]);
      [last] = await pool.run(1);
    }
    return programs.map((program, rank) => {
      const own = program.graphs.map(({ id }) => workspaces.get(id));
      const workspace = {
        runBytes: Math.max(0, ...own.map(({ run }) => run)),
        constantBytes: own.reduce((sum, { constants }) => sum + constants, 0),
        sessionBytes: own.reduce((sum, { session }) => sum + session, 0),
      };
      const status = readFileSync(`/proc/${pool.pids[rank]}/status`, "latin1");
      return {
        workspace,
        reservedBytes,
        sharedBytesPerRank: pool.options.sharedBytesPerRank,
        peakBytes: Number(/^VmHWM:\s*(\d+)/m.exec(status)[1]) * 1024,
        sharedBytes: Number(/^RssShmem:\s*(\d+)/m.exec(status)[1]) * 1024,
        ...mappingsOf(pool.pids[rank], program.arenaBytes),
        onnxRuntimeBytes: last[rank].onnxRuntimeBytes,
        graphs: program.graphs.length,
        instructions: program.instructions.length,
        longestFlatBytes: Math.max(0, ...program.flats.map(({ elements }) => 4 * elements)),
      };
    });
  } finally {
    await pool.close();
  }
}

/** Resident bytes of the mappings between guard pages: the Program's arena, by its size, and ONNX Runtime's, the largest. */
function mappingsOf(pid, arenaBytes) {
  const mappings = [];
  for (const line of readFileSync(`/proc/${pid}/smaps`, "latin1").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line);
    if (range) {
      const [start, end] = [Number.parseInt(range[1], 16), Number.parseInt(range[2], 16)];
      mappings.push({ start, end, guard: range[3] === "---p", named: range[4] !== "", residentBytes: 0 });
    }
    const resident = /^Rss:\s*(\d+)/.exec(line);
    if (resident) mappings.at(-1).residentBytes = Number(resident[1]) * 1024;
  }
  const guarded = mappings.filter(
    ({ start, end, guard, named }, i) =>
      !guard &&
      !named &&
      mappings[i - 1]?.guard &&
      mappings[i - 1].end === start &&
      mappings[i + 1]?.guard &&
      mappings[i + 1].start === end,
  );
  const size = ({ start, end }) => end - start;
  const largest = guarded.reduce((a, b) => (size(b) > size(a) ? b : a));
  return {
    arenaMappedBytes:
      guarded.find((one) => size(one) === Math.ceil(arenaBytes / PAGE) * PAGE)?.residentBytes ?? null,
    onnxRuntimeMappedBytes: largest.residentBytes,
  };
}

function write() {
  const plans = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")));
  // Predictions are made anew: what was measured stays.
  const all = plans.flatMap(({ family, plan, ranks }) => {
    const { programs } = compilePlan(modelOf(family), plan);
    return ranks.map((rank, index) => ({ family, ...rank, predicted: predictedOf(programs, index, rank) }));
  });
  const relative = ({ predicted, peakBytes }) => predicted.totalBytes / peakBytes - 1;
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const rowOf = (name, own) => {
    const errors = own.map(relative).map(Math.abs);
    const within = errors.filter((error) => error <= 0.02).length;
    const megabytes = own.map(({ peakBytes }) => peakBytes / MB);
    return `| ${name} | ${own.length} | ${Math.min(...megabytes).toFixed(0)} to ${Math.max(...megabytes).toFixed(0)} | ${percent(mean(errors))} | ${percent(Math.max(...errors))} | ${percent(within / own.length)} |`;
  };
  const families = [...new Set(all.map(({ family }) => family))];
  const exact = all.filter(
    ({ predicted, arenaMappedBytes }) => arenaMappedBytes === Math.ceil(predicted.arenaBytes / PAGE) * PAGE,
  ).length;
  const likeMessages = all.filter(
    ({ predicted, sharedBytes }) => sharedBytes === predicted.messageBytes,
  ).length;
  const part = (name, differences) =>
    `| ${name} | ${(mean(differences) / MB).toFixed(2)} | ${(Math.max(...differences.map(Math.abs)) / MB).toFixed(2)} |`;
  const runs = all.map(
    ({ workspace, onnxRuntimeMappedBytes }) =>
      onnxRuntimeMappedBytes - Math.ceil(workspace.runBytes / LARGE_PAGE) * LARGE_PAGE,
  );
  const messages = all.map(({ predicted, sharedBytes }) => sharedBytes - predicted.messageBytes);
  const path = join(root, "docs/benchmarks/memory.md");
  const text = readFileSync(path, "utf8");
  const head = text.slice(0, text.indexOf("## Results"));
  writeFileSync(
    path,
    `${head}## Results

${cpus()[0].model.trim()}, ${new Date().toISOString().slice(0, 10)}: ${plans.length} plans, ${all.length} processes.

| model | processes | MB at the peak | mean difference | largest | within 2 % |
|---|---|---|---|---|---|
${[
  ...families.map((family) =>
    rowOf(
      family,
      all.filter((one) => one.family === family),
    ),
  ),
  rowOf("all", all),
].join("\n")}

Buffers: in ${exact} of ${all.length} processes the system counts exactly the Program's arena, rounded up to whole pages, as
resident. Messages: in ${likeMessages} it counts exactly the predicted pages.

| part | mean of counted − predicted, MB | largest, MB |
|---|---|---|
${part("ONNX Runtime's arena (its mapping)", runs)}
${part("messages between ranks (shared memory)", messages)}
${part(
  "everything",
  all.map(({ predicted, peakBytes }) => peakBytes - predicted.totalBytes),
)}
`,
  );
}
