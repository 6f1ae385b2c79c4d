// Builds build/native/galvatron.node with the C++ compiler of this machine: one process per source, as many at a time
// as there are cores, only what changed. No header comes from outside the dependencies. The same sources and compiler
// give the same bytes, and the addon runs on any x86-64 or arm64 Linux (kernels are compiled once per instruction set).
//
//   node native/build.mjs [--force] [--verbose]

import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const sourceFolder = join(root, "native", "src");
const outputFolder = join(root, "build", "native");
const objectFolder = join(outputFolder, "objects");
const addon = join(outputFolder, "galvatron.node");

const force = process.argv.includes("--force");
const verbose = process.argv.includes("--verbose");

const packageFolder = (name) => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

function findCompiler() {
  const candidates = process.env.CXX ? [process.env.CXX] : ["g++", "c++", "clang++"];
  for (const candidate of candidates) {
    const asked = spawnSync(candidate, ["--version"], { encoding: "utf8" });
    if (asked.status === 0) return { command: candidate, version: asked.stdout.split("\n")[0] };
  }
  process.stderr.write(
    `No C++ compiler was found (tried ${candidates.join(", ")}). The native addon needs one that knows C++20, ` +
      "for example GCC 11 or newer:\n" +
      "  Debian, Ubuntu   apt-get install g++\n" +
      "  Fedora, RHEL     dnf install gcc-c++\n" +
      "  Alpine           apk add g++\n" +
      "or name one in the environment variable CXX.\n",
  );
  process.exit(1);
}

if (process.platform !== "linux") {
  process.stderr.write(`The native addon runs on Linux; this is ${process.platform}.\n`);
  process.exit(1);
}

const compiler = findCompiler();
const flags = [
  "-std=c++20",
  "-O3",
  "-g0",
  "-fPIC",
  "-fvisibility=hidden",
  // Products and sums stay apart, so every instruction set gives the same bits.
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fno-trapping-math",
  "-Wall",
  "-Wextra",
  "-Wno-unused-parameter",
  `-ffile-prefix-map=${root}=.`,
  "-DNAPI_VERSION=9",
  "-DNODE_ADDON_API_CPP_EXCEPTIONS",
  "-DBUILDING_NODE_EXTENSION",
  "-isystem",
  join(packageFolder("node-api-headers"), "include"),
  "-isystem",
  packageFolder("node-addon-api"),
];
const instructionSets =
  process.arch === "x64"
    ? {
        kernelsBaseline: [],
        kernelsAvx2: ["-mavx2"],
        kernelsAvx512: ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512"],
      }
    : { kernelsBaseline: [] };

const units = readdirSync(sourceFolder)
  .filter((file) => file.endsWith(".cc"))
  .sort()
  .flatMap((file) =>
    file === "kernels.cc"
      ? Object.entries(instructionSets).map(([table, extra]) => ({
          source: join(sourceFolder, file),
          object: join(objectFolder, `${table}.o`),
          extra: [...extra, `-DGALVATRON_KERNELS=${table}`],
        }))
      : [{ source: join(sourceFolder, file), object: join(objectFolder, `${file}.o`), extra: [] }],
  );

mkdirSync(objectFolder, { recursive: true });
takeTurn(join(outputFolder, "build.lock"));

// Another compiler or other flags: everything again.
const stamp = JSON.stringify({
  version: compiler.version,
  flags,
  units: units.map((unit) => [unit.source, unit.extra]),
});
const stampFile = join(objectFolder, "stamp.json");
if (force || !existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
  rmSync(objectFolder, { recursive: true, force: true });
  mkdirSync(objectFolder, { recursive: true });
}

function changedAt(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
}

/** Two builds at once would write the same objects: the second waits for the first to end. */
function takeTurn(lock) {
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      process.on("exit", () => rmSync(lock, { force: true }));
      for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const owner = Number(readText(lock));
    // Empty for a moment while it is written, and for good where its writer died just then.
    const abandoned = owner > 0 ? !isRunning(owner) : Date.now() - changedAt(lock) > 5000;
    if (abandoned) rmSync(lock, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
}

function readText(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function isFresh(unit) {
  const dependencies = `${unit.object}.d`;
  if (!existsSync(unit.object) || !existsSync(dependencies)) return false;
  const built = statSync(unit.object).mtimeMs;
  const files = readFileSync(dependencies, "utf8")
    .replace(/\\\n/g, " ")
    .replace(/^[^:]*:/, "")
    .split(/\s+/)
    .filter(Boolean);
  return files.every((file) => changedAt(resolve(root, file)) < built);
}

function run(args) {
  if (verbose) process.stdout.write(`${[compiler.command, ...args].join(" ")}\n`);
  return new Promise((done, failed) => {
    const child = spawn(compiler.command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", failed);
    child.on("close", (code) => (code === 0 ? done() : failed(new Error(`the compiler ended with ${code}`))));
  });
}

async function compileAll(stale) {
  const queue = [...stale];
  const compileNext = async () => {
    for (let unit = queue.shift(); unit !== undefined; unit = queue.shift()) {
      await run([
        ...flags,
        ...unit.extra,
        "-MMD",
        "-MF",
        `${unit.object}.d`,
        "-c",
        unit.source,
        "-o",
        unit.object,
      ]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), stale.length) }, compileNext));
}

const stale = units.filter((unit) => !isFresh(unit));
try {
  await compileAll(stale);
  if (stale.length > 0 || !existsSync(addon)) {
    const link = [
      "-shared",
      "-pthread",
      "-Wl,--build-id=none",
      "-Wl,--no-undefined-version",
      "-o",
      `${addon}.new`,
    ];
    await run([...link, ...units.map((unit) => unit.object), "-ldl", "-lrt"]);
    // Renamed into place: a process that has the old one open keeps it.
    renameSync(`${addon}.new`, addon);
  }
} catch (error) {
  process.stderr.write(`The native addon was not built: ${error.message} (${compiler.version}).\n`);
  process.exit(1);
}
writeFileSync(stampFile, stamp);
const news = stale.length === 0 ? "up to date" : `${stale.length} of ${units.length} files compiled`;
process.stdout.write(`build/native/galvatron.node: ${news}\n`);
