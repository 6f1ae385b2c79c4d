// One small script without dependencies: brings a fresh clone to where it can do the job asked for.
//   node bootstrap.mjs build | quickstart | notebooks | docs [--check] | test [vitest arguments]
//   node bootstrap.mjs python [pytest-like arguments] | conformance | venv
// Installs packages when the lockfile changed, builds TypeScript and the native addon when their sources changed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(fileURLToPath(import.meta.url));
process.chdir(ROOT);

const [job = "build", ...rest] = process.argv.slice(2);
const JOBS = {
  build: () => prepare(),
  test: () => {
    prepare();
    run("node", ["node_modules/vitest/vitest.mjs", "run", ...rest]);
  },
  quickstart: () => {
    prepare();
    const out = "out/quickstart";
    run("node", [
      "dist/src/cli/main.js",
      "notebook",
      "run",
      "notebooks/quickstart.ipynb",
      "--output",
      `${out}/quickstart.ipynb`,
      "--html",
      `${out}/quickstart.html`,
      ...rest,
    ]);
    say(`Executed notebook: ${join(ROOT, out, "quickstart.ipynb")}`);
    say(`Page with its pictures: ${join(ROOT, out, "quickstart.html")}`);
  },
  notebooks: () => {
    prepare();
    const files = readdirSync("notebooks").filter((name) => name.endsWith(".ipynb"));
    const command = [
      "dist/src/cli/main.js",
      "notebook",
      "check",
      ...files.map((name) => `notebooks/${name}`),
    ];
    run("node", [...command, ...rest]);
  },
  docs: () => {
    prepare();
    run("node", ["docs/sdk/make.mjs", ...rest]);
  },
  python: () => {
    prepare();
    run(venv(), ["test/python/run.py", ...rest]);
  },
  conformance: () => {
    prepare();
    run(venv(), ["test/python/conformance.py", ...rest]);
  },
  venv: () => say(venv()),
};

if (!(job in JOBS)) fail(`Unknown job "${job}". Known: ${Object.keys(JOBS).join(", ")}.`);
checkPrerequisites();
JOBS[job]();

/** Stops in words when the system lacks what npm cannot install. */
function checkPrerequisites() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node 20.19 or newer is needed, this is ${process.versions.node}. Get one from https://nodejs.org.`);
  }
  if (process.platform !== "linux") {
    fail(`Linux is needed (workers meet in POSIX shared memory and futexes), this is ${process.platform}.`);
  }
  const compiler = process.env.CXX ?? "g++";
  if (spawnSync(compiler, ["--version"], { stdio: "ignore" }).status !== 0) {
    fail(
      `A C++20 compiler is needed to build the native addon, and "${compiler}" does not run.\n  On Debian or Ubuntu: sudo apt-get install g++\n  Elsewhere: install GCC 11 or newer, or set CXX.`,
    );
  }
}

/** Packages, TypeScript, addon: each only when its inputs changed. */
function prepare() {
  step("packages", "node_modules/.galvatron-stamp", hashOf(["package-lock.json"]), () =>
    run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]),
  );
  step(
    "TypeScript",
    "dist/.galvatron-stamp",
    hashOf([
      "tsconfig.json",
      "tsconfig.build.json",
      "package-lock.json",
      ...filesUnder("src"),
      ...filesUnder("kernel"),
    ]),
    () => run("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"]),
  );
  step(
    "native addon",
    "build/native/.galvatron-stamp",
    hashOf(["native/build.mjs", "package-lock.json", ...filesUnder("native/src")]),
    () => run("node", ["native/build.mjs"]),
  );
}

/** Does `work` unless `stamp` says that it was done for the same inputs. */
function step(name, stamp, inputs, work) {
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) return;
  say(`Preparing: ${name}`);
  work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, inputs);
}

/** Python of the project's own virtual environment, made on first use; only tests need it. */
function venv() {
  const python = ".venv/bin/python";
  step(
    "Python packages for tests (.venv)",
    ".venv/.galvatron-stamp",
    hashOf(["test/python/requirements.txt"]),
    () => {
      if (spawnSync("python3", ["-m", "venv", "--help"], { stdio: "ignore" }).status !== 0) {
        fail(
          "Python 3.10 or newer with venv is needed for these tests.\n  On Debian or Ubuntu: sudo apt-get install python3 python3-venv",
        );
      }
      if (!existsSync(python)) run("python3", ["-m", "venv", ".venv"]);
      run(python, [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        "test/python/requirements.txt",
      ]);
    },
  );
  return python;
}

function hashOf(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update("\0").update(readFileSync(file)).update("\0");
  return hash.digest("hex");
}

function filesUnder(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((file) => statSync(file).isFile())
    .sort();
}

function run(command, args) {
  const { status, error, signal } = spawnSync(command, args, { stdio: "inherit" });
  if (error) fail(`${command} does not start: ${error.message}`);
  if (status !== 0) process.exit(status ?? (signal ? 1 : 0));
}

function say(text) {
  process.stdout.write(`${text}\n`);
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
