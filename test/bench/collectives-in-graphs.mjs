// How collectives meet graphs: a chain of tensor-parallel feed-forward blocks on two host ranks, each block cut at its
// all-reduce (what the runtime does), beside one graph with the all-reduce as a custom op inside.
//   npm run build:native && node test/bench/collectives-in-graphs.mjs [rounds]
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(import.meta.url);
const folder = join(root, "build", "bench");
const program = join(folder, "collectives-in-graphs");
mkdirSync(folder, { recursive: true });

const objects = join(root, "build", "native", "objects");
const wanted =
  /^(byte-pool|host-collectives|kernels-choice|meeting-place|ort|ort-environment|shared-memory)\.cc\.o$|^kernels\w+\.o$/;
execFileSync(process.env.CXX ?? "g++", [
  ...["-std=c++20", "-O2", "-pthread", "-I", join(root, "native", "src"), "-o", program],
  join(root, "test", "bench", "native", "collectives-in-graphs.cc"),
  ...readdirSync(objects)
    .filter((file) => wanted.test(file))
    .map((file) => join(objects, file)),
  ...["-ldl", "-lrt"],
]);

const addon = require(join(root, "build", "native", "galvatron.node"));
const library = join(
  dirname(require.resolve("onnxruntime-node/package.json")),
  "bin/napi-v6",
  process.platform,
  process.arch,
  "libonnxruntime.so.1",
);
const { tinyOnnx } = loadTypeScript(join(root, "test", "support", "tiny-onnx.ts"));

const rounds = Number(process.argv[2] ?? 40);
const cases = [
  { blocks: 16, tokens: 64, hidden: 128 },
  { blocks: 16, tokens: 256, hidden: 256 },
  { blocks: 8, tokens: 1024, hidden: 512 },
];
process.stdout.write(
  "| blocks | tokens | hidden | cut, ms | one graph, ms | cut / one graph | intermediates cut, MB | one graph, MB |\n|---|---|---|---|---|---|---|---|\n",
);
for (const it of cases) {
  writeGraphs(it);
  const result = await run(it);
  if (!result.same) throw new Error("the two ways differ");
  const mb = (bytes) => (bytes / 2 ** 20).toFixed(2);
  process.stdout.write(
    `| ${it.blocks} | ${it.tokens} | ${it.hidden} | ${result.cutMs.toFixed(3)} (best ${result.cutBestMs.toFixed(3)}) | ${result.wholeMs.toFixed(3)} (best ${result.wholeBestMs.toFixed(3)}) | ${(result.cutMs / result.wholeMs).toFixed(3)} (${(result.cutBestMs / result.wholeBestMs).toFixed(3)}) | ${mb(result.cutBytes)} | ${mb(result.wholeBytes)} |\n`,
  );
}

function writeGraphs({ blocks, tokens, hidden }) {
  const value = (name, ...shape) => ({ name, dtype: "float32", shape });
  const x = value("x", tokens, hidden);
  const feedForward = (input, w1, w2, output, id) => [
    { op: "MatMul", inputs: [input, w1], outputs: [`h${id}`] },
    { op: "Relu", inputs: [`h${id}`], outputs: [`a${id}`] },
    { op: "MatMul", inputs: [`a${id}`, w2], outputs: [output] },
  ];
  const before = tinyOnnx(
    feedForward("x", "w1", "w2", "partial", ""),
    [x, value("w1", hidden, 2 * hidden), value("w2", 2 * hidden, hidden)],
    [value("partial", tokens, hidden)],
  );
  const after = tinyOnnx(
    [{ op: "Add", inputs: ["x", "partial"], outputs: ["y"] }],
    [x, value("partial", tokens, hidden)],
    [value("y", tokens, hidden)],
  );
  const nodes = [];
  const inputs = [x];
  for (let block = 0; block < blocks; block++) {
    const from = block === 0 ? "x" : `y${block - 1}`;
    const to = block === blocks - 1 ? "y" : `y${block}`;
    nodes.push(
      ...feedForward(from, `w1_${block}`, `w2_${block}`, `p${block}`, block),
      { op: "AllReduce", domain: "galvatron", inputs: [`p${block}`], outputs: [`r${block}`] },
      { op: "Add", inputs: [from, `r${block}`], outputs: [to] },
    );
    inputs.push(value(`w1_${block}`, hidden, 2 * hidden), value(`w2_${block}`, 2 * hidden, hidden));
  }
  writeFileSync(join(folder, "before.onnx"), before);
  writeFileSync(join(folder, "after.onnx"), after);
  writeFileSync(join(folder, "whole.onnx"), tinyOnnx(nodes, inputs, [value("y", tokens, hidden)]));
}

async function run({ blocks, tokens, hidden }) {
  const shared = `galvatron-bench-${process.pid}`;
  addon.createShared({ name: shared, ranks: 2, bytesPerRank: 8 * 2 ** 20 });
  try {
    const outputs = await Promise.all(
      [0, 1].map(
        (rank) =>
          new Promise((done, failed) => {
            const args = [library, shared, rank, folder, blocks, tokens, hidden, rounds].map(String);
            const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
            let text = "";
            child.stdout.on("data", (chunk) => {
              text += chunk;
            });
            child.on("close", (code) =>
              code === 0 ? done(text) : failed(new Error(`rank ${rank} ended with ${code}`)),
            );
          }),
      ),
    );
    return JSON.parse(outputs[0]);
  } finally {
    addon.unlinkShared(shared);
  }
}

/** A TypeScript file without imports that run, as a module. */
function loadTypeScript(file) {
  const typescript = require("typescript");
  const { outputText } = typescript.transpileModule(readFileSync(file, "utf8"), {
    compilerOptions: { module: typescript.ModuleKind.CommonJS, target: typescript.ScriptTarget.ES2022 },
  });
  const module = { exports: {} };
  new Function("module", "exports", "require", outputText)(module, module.exports, require);
  return module.exports;
}
