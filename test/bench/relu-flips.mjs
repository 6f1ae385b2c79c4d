// Why plans of T5 go further apart under bfloat16 than those of other families: activations of the ReLU of the last layer
// that are zero under a plan and not on one rank, or the other way, and the rows of the gradient that they touch.
//   npm run build && node test/bench/relu-flips.mjs [--plans 20] [--seed 1] [--ranks 8]
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = process.env.GALVATRON_ROOT ?? join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { familyOf, modelSpec } = require("./families/registry.js");
const { placeOf } = require("./cluster/rank-groups.js");
const { drawPlan } = require("./plan/draw-plan.js");
const { uniformPlan } = require("./plan/uniform.js");
const { strategyGrid, stageOfRank } = require("./plan/stages.js");
const { compilePlan } = require("./runtime/compile-plan.js");
const { openHostPool } = require("./runtime/coordinator/host-pool.js");
const { hashNumbers } = require("./runtime/data/sample-order.js");
const { fullRows, randomInputs } = require("./runtime/verify/random-inputs.js");
const { wholeParameters } = require("./runtime/verify/whole-parameters.js");

const { values } = parseArgs({
  options: {
    plans: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    ranks: { type: "string", default: "8" },
  },
});
const [count, seed, ranks] = [values.plans, values.seed, values.ranks].map(Number);
const SAMPLES = 8;
const pool = await openHostPool(ranks, 1);

for (const activation of ["relu", "gated-gelu-tanh"]) {
  const model = modelSpec("t5", { ...familyOf("t5").small, activation });
  const last = model.layers.length - 1;
  const alone = (precision) =>
    apart(compilePlan(model, uniformPlan(model, { ranks: 1, globalBatch: SAMPLES, precision })));
  const exact = await gradients(model, alone("float32"));
  const one = alone("bfloat16");
  const reference = await gradients(model, one);
  const rounded = worst(exact, reference);
  console.log(
    `${activation}: bfloat16 beside float32, one rank: ${rounded.apart.toExponential(2)} in ${rounded.name}`,
  );
  const own = activation === "relu" ? await activations(model, one, last) : null;
  let drawn = 0;
  const pick = (choices) => hashNumbers(seed, drawn++) % choices;
  for (let index = 0; index < count; index++) {
    const plan = drawPlan(model, { ranks, globalBatch: SAMPLES, precision: "bfloat16" }, pick);
    const lowered = apart(compilePlan(model, plan));
    const found = await gradients(model, lowered);
    const difference = worst(reference, found);
    let said = "";
    const under = own && (await activations(model, lowered, last));
    if (under) {
      const flipped = flips(own, under);
      const name = `layers.${last}.feedForward.up.weight`;
      const [touched, others] = rowDifferences(
        reference.get(name),
        found.get(name),
        flipped.units,
        own.units,
      );
      said = `; layer ${last}: ${flipped.count} of ${own.values.length} flipped (at most ${flipped.most.toFixed(3)} of ${largest(own.values).toFixed(1)}), gradient rows ${touched.toExponential(1)} with a flip, ${others.toExponential(1)} without`;
    }
    console.log(`  plan ${index}: ${difference.apart.toExponential(2)} in ${difference.name}${said}`);
  }
}
await pool.close();

/** Every buffer at an address of its own, so that all can be read when the step is over. */
function apart(lowered) {
  const programs = lowered.programs.map((program) => {
    let arenaBytes = 0;
    const buffers = program.buffers.map((buffer) => {
      const offsetBytes = arenaBytes;
      arenaBytes += Math.ceil(buffer.sizeBytes / 256) * 256;
      return { ...buffer, offsetBytes };
    });
    return { ...program, buffers, arenaBytes };
  });
  return { ...lowered, programs };
}

async function gradients(model, { programs, graphs }) {
  await pool.load({ programs, graphs, seed, feed: null, firstStep: 0 });
  const full = compilePlan(model, uniformPlan(model, { ranks: 1, globalBatch: SAMPLES })).programs[0];
  for (const program of programs)
    await pool.write(program.rank, randomInputs(program, fullRows(full), model.vocabulary, seed, 0));
  await pool.run(1);
  return wholeParameters(pool, programs, "gradient");
}

function worst(a, b) {
  return [...a]
    .map(([name, own]) => {
      const other = b.get(name);
      return { name, apart: largest(own.map((value, i) => value - other[i])) / largest(own) };
    })
    .reduce((x, y) => (y.apart > x.apart ? y : x));
}

function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** What the ReLU of a layer gave, `[positions, samples, units]`, put together from all ranks and micro-batches; null where a rank's share looks like other values. */
async function activations(model, { programs }, layer) {
  const { plan } = programs[0];
  const { hidden, sequence, feedForward } = model.kinds[model.layers[layer]];
  const strategy = plan.layers[layer];
  const { tensorDegree, tensorSplit } = strategy;
  const units = tensorSplit === "weights" ? feedForward / tensorDegree : feedForward;
  if (units === hidden) return null;
  const whole = new Float32Array(sequence * SAMPLES * feedForward);
  for (const program of programs) {
    const grid = strategyGrid(plan, strategy, stageOfRank(plan, program.rank));
    // Of the values of this shape the ReLU's is the last that forward makes.
    const held = new Map();
    for (const [tensor, { name, dtype, shape }] of program.tensors.entries()) {
      const microBatch = new RegExp(`^layers\\.${layer}\\.value\\.\\d+#(\\d+)$`).exec(name)?.[1];
      if (microBatch !== undefined && dtype === "bfloat16" && shape.length === 3 && shape[2] === units)
        held.set(Number(microBatch), { tensor, shape });
    }
    for (const [microBatch, { tensor, shape }] of held) {
      const [bytes] = await pool.read(program.rank, [tensor]);
      const { tensorIndex, dataIndex } = placeOf(grid, program.rank);
      const bits = new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
      const floats = new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
      const firstRow = shape[0] < sequence ? tensorIndex * shape[0] : 0;
      const firstUnit = units < feedForward ? tensorIndex * units : 0;
      const firstSample = (microBatch * SAMPLES) / plan.microBatches + dataIndex * shape[1];
      for (let i = 0; i < floats.length; i++) {
        const row = firstRow + Math.floor(i / units / shape[1]);
        const sample = firstSample + (Math.floor(i / units) % shape[1]);
        whole[(row * SAMPLES + sample) * feedForward + firstUnit + (i % units)] = floats[i];
      }
    }
  }
  return { values: whole, units: feedForward };
}

function flips(a, b) {
  const touched = new Set();
  let count = 0;
  let most = 0;
  for (let i = 0; i < a.values.length; i++) {
    if (a.values[i] > 0 === b.values[i] > 0) continue;
    touched.add(i % a.units);
    most = Math.max(most, a.values[i], b.values[i]);
    count++;
  }
  return { count, most, units: touched };
}

/** Largest difference over the tensor's largest gradient, in the rows of these units and in all others. */
function rowDifferences(own, other, units, allUnits) {
  const width = own.length / allUnits;
  const most = largest(own);
  let [touched, others] = [0, 0];
  for (let i = 0; i < own.length; i++) {
    const difference = Math.abs(own[i] - other[i]) / most;
    if (units.has(Math.floor(i / width))) touched = Math.max(touched, difference);
    else others = Math.max(others, difference);
  }
  return [touched, others];
}
