// Builds build/native/libgalvatron_cuda.so: kernels with nvcc, the rest with g++. Needs CUDA 13's nvcc and headers of
// cuDNN, cudnn-frontend, cuBLAS, NVRTC and NCCL; links none of their libraries (opened at run time). `npm run build:cuda`.
//
//   node native/cuda/build.mjs [--arch 90] [--headers FOLDER] [--out FOLDER] [--jobs N] [--check]
//
// Headers are looked for in --headers (as pip unpacks wheels there), GALVATRON_CUDA_HEADERS, the `nvidia` packages of
// the Python on PATH, and the CUDA toolkit. --check only says what is missing.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "..", "..");
const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const out = path.resolve(root, option("out", path.join("build", "native")));
const objects = path.join(out, "cuda-objects");
const arch = option("arch", "90");
const jobs = Number(option("jobs", String(Math.max(1, cpus().length))));

const fail = (message) => {
  process.stderr.write(`${message}\n`);
  process.exit(1);
};

const nvcc = [
  process.env.NVCC,
  process.env.CUDA_HOME && path.join(process.env.CUDA_HOME, "bin", "nvcc"),
  "nvcc",
  "/usr/local/cuda/bin/nvcc",
]
  .filter(Boolean)
  .find((candidate) => spawnSync(candidate, ["--version"]).status === 0);
if (!nvcc) fail("nvcc was not found: install CUDA 13's toolkit, or set NVCC or CUDA_HOME.");

const roots = [option("headers"), process.env.GALVATRON_CUDA_HEADERS].filter(Boolean);
const python = spawnSync("python3", [
  "-c",
  "import sysconfig, nvidia; print(sysconfig.get_paths()['purelib']); print(list(nvidia.__path__)[0])",
]);
if (python.status === 0) roots.push(...python.stdout.toString().trim().split("\n"));
roots.push(process.env.CUDA_HOME ?? "/usr/local/cuda");
// A header folder may stand in the root, in root/include, or in an nvidia package below it.
const places = roots.flatMap((base) => [
  base,
  path.join(base, "include"),
  ...["cudnn", "nccl", "cu13", "cublas", "cuda_nvrtc"].flatMap((name) => [
    path.join(base, name, "include"),
    path.join(base, "nvidia", name, "include"),
  ]),
]);
const wanted = {
  "cudnn_frontend.h": "pip package nvidia-cudnn-frontend",
  "cudnn.h": "pip package nvidia-cudnn-cu13",
  "cublasLt.h": "pip package nvidia-cublas",
  "nvrtc.h": "pip package nvidia-cuda-nvrtc",
  "nccl.h": "pip package nvidia-nccl-cu13",
  "cuda_runtime.h": "CUDA toolkit",
};
const includes = new Set();
const missing = [];
for (const [header, source] of Object.entries(wanted)) {
  const place = places.find((candidate) => existsSync(path.join(candidate, header)));
  if (place) includes.add(place);
  else missing.push(`${header} (${source})`);
}
if (missing.length > 0)
  fail(
    `Missing headers: ${missing.join(", ")}.\nLooked in: ${places.filter((p) => existsSync(p)).join(", ")}`,
  );
if (process.argv.includes("--check")) process.exit(0);

const includeFlags = [...includes].map((folder) => `-I${folder}`);
const shared = path.join(root, "native", "src");
const cxxFlags = [
  "-std=c++20",
  "-O2",
  "-fPIC",
  "-fvisibility=hidden",
  "-Wall",
  "-Wextra",
  "-Wno-unused-parameter",
  "-Wno-comment",
];
// cudnn-frontend is large: optimising it costs minutes and gains nothing.
const slowToCompile = new Set(["attention.cc"]);
const sources = [
  ...readdirSync(path.join(here, "kernels"))
    .filter((f) => f.endsWith(".cu"))
    .map((f) => path.join(here, "kernels", f)),
  ...readdirSync(here)
    .filter((f) => f.endsWith(".cc"))
    .map((f) => path.join(here, f)),
  path.join(shared, "ort.cc"),
  path.join(shared, "cuda-libraries.cc"),
].sort();
const searched = [here, path.join(here, "kernels"), shared];

// A source and our own headers that it includes, directly or not.
const reads = (file, seen = new Set()) => {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const [, name] of readFileSync(file, "utf8").matchAll(/^#include "([^"]+)"/gm)) {
    const found = [path.dirname(file), ...searched]
      .map((folder) => path.join(folder, name))
      .find((f) => existsSync(f));
    if (found) reads(found, seen);
  }
  return seen;
};
const digest = (source, command) => {
  const hash = createHash("sha256").update(command.join("\0"));
  for (const file of reads(source)) hash.update(readFileSync(file));
  return hash.digest("hex");
};
const commandOf = (source, object) => {
  if (source.endsWith(".cu")) {
    return [
      nvcc,
      "-std=c++17",
      "-O3",
      `-gencode=arch=compute_${arch},code=sm_${arch}`,
      "-Xcompiler",
      "-fPIC,-fvisibility=hidden",
      "-c",
      source,
      "-o",
      object,
    ];
  }
  const name = path.basename(source);
  const flags = slowToCompile.has(name)
    ? cxxFlags.map((flag) => (flag === "-O2" ? "-O1" : flag)).filter((f) => !/^-W(all|extra)/.test(f))
    : cxxFlags;
  return [
    process.env.CXX ?? "g++",
    ...flags,
    `-I${here}`,
    `-I${shared}`,
    ...includeFlags,
    "-c",
    source,
    "-o",
    object,
  ];
};

mkdirSync(objects, { recursive: true });
const run = (command) =>
  new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "inherit", "inherit"] });
    child.on("close", (code) => resolve(code));
  });

const queue = [];
const objectFiles = [];
for (const source of sources) {
  const object = path.join(objects, `${path.basename(source)}.o`);
  objectFiles.push(object);
  const command = commandOf(source, object);
  const hash = digest(source, command);
  const stamp = `${object}.hash`;
  if (existsSync(object) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash) continue;
  queue.push({ source, command, stamp, hash });
}
let failed = false;
await Promise.all(
  Array.from({ length: jobs }, async () => {
    for (let next = queue.shift(); next && !failed; next = queue.shift()) {
      process.stdout.write(`${path.relative(root, next.source)}\n`);
      if ((await run(next.command)) === 0) writeFileSync(next.stamp, next.hash);
      else failed = true;
    }
  }),
);
if (failed) fail("The CUDA library was not built.");
const library = path.join(out, "libgalvatron_cuda.so");
// nvcc's linker step brings cudart in statically, so the library loads where there is no CUDA at all.
const linked = await run([
  nvcc,
  "-shared",
  "-o",
  library,
  ...objectFiles,
  "-cudart",
  "static",
  "-Xlinker",
  "--no-undefined",
  "-Xlinker",
  "--exclude-libs,ALL",
  "-ldl",
  "-lpthread",
  "-lrt",
]);
if (linked !== 0) fail("The CUDA library was not linked.");
process.stdout.write(`${path.relative(root, library)} ${(statSync(library).size / 2 ** 20).toFixed(1)} MB\n`);
