import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { memoryText } from "../base/memory-size.js";
import type { NativeProbe } from "../device/addon.js";
import { loadAddon } from "../device/load-addon.js";
import { onnxRuntimePath } from "../device/onnx-runtime-path.js";
import { textTable } from "../display/html-table.js";
import { cudaProviderPath, hostMachine } from "../runtime/machine.js";
import { readArguments } from "./args.js";
import { type Command, printJson } from "./terminal.js";

/** One thing that a machine has or lacks. */
interface Finding {
  readonly what: string;
  readonly found: boolean;
  readonly detail: string;
  /** Without it nothing trains; the rest adds to what can be done. */
  readonly needed: boolean;
  /** How to get it, where it is missing. */
  readonly remedy: string;
}

/** `galvatron doctor`: what this machine offers, what is missing, and how to get it. Fails when something needed is. */
export const doctorCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, { values: [], switches: ["json"] });
  const findings = [...hostFindings(), ...nativeFindings(), ...notebookFindings()];
  const missing = findings.filter((finding) => finding.needed && !finding.found);
  if (flags["json"]) printJson(terminal, { ok: missing.length === 0, findings });
  else {
    terminal.out(
      `${textTable(
        ["", "what", "detail"],
        findings.map(({ found, needed, what, detail }) => [
          found ? "yes" : needed ? "MISSING" : "no",
          what,
          detail,
        ]),
      )}\n`,
    );
    const absent = findings.filter((finding) => !finding.found);
    if (absent.length > 0)
      terminal.out(
        `\nTo get what is missing:\n${absent.map(({ what, remedy }) => `  ${what}: ${remedy}`).join("\n")}\n`,
      );
  }
  return missing.length === 0 ? 0 : 1;
};

function hostFindings(): readonly Finding[] {
  const { cluster, threadsPerRank } = hostMachine();
  const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
  const compiler = commandLine("g++", ["--version"]);
  return [
    {
      what: "Linux",
      found: process.platform === "linux",
      detail: `${process.platform} ${process.arch}`,
      needed: true,
      remedy: "workers meet in POSIX shared memory and futexes: use Linux (a container or WSL 2 will do)",
    },
    {
      what: "Node",
      found: major > 20 || (major === 20 && minor >= 19),
      detail: process.versions.node,
      needed: true,
      remedy: "install Node 20.19 or newer from https://nodejs.org",
    },
    {
      what: "C++ compiler",
      found: compiler !== null,
      detail: compiler ?? "g++ does not run",
      needed: true,
      remedy: "sudo apt-get install g++ (GCC 11 or newer), or set CXX",
    },
    {
      what: "processor",
      found: true,
      detail: `${cluster.deviceName}, ${availableParallelism()} cores: ${cluster.ranksPerNode} ranks of ${threadsPerRank} thread(s)`,
      needed: true,
      remedy: "",
    },
    {
      what: "memory",
      found: true,
      detail: `${memoryText(cluster.memoryBytesPerRank * cluster.ranksPerNode)}, ${memoryText(cluster.memoryBytesPerRank)} a rank`,
      needed: true,
      remedy: "",
    },
  ];
}

function nativeFindings(): readonly Finding[] {
  let probe: NativeProbe;
  try {
    probe = loadAddon().probe({ onnxRuntimePath: onnxRuntimePath(), libraries: true });
  } catch (error) {
    return [
      {
        what: "native addon",
        found: false,
        detail: error instanceof Error ? error.message : String(error),
        needed: true,
        remedy: "npm run build",
      },
    ];
  }
  const { onnxRuntime, libraries, devices } = probe;
  const provider = cudaProviderPath(onnxRuntime.path);
  return [
    { what: "native addon", found: true, detail: "built", needed: true, remedy: "npm run build" },
    {
      what: "ONNX Runtime",
      found: true,
      detail: `${onnxRuntime.version}: ${onnxRuntime.providers.join(", ")}`,
      needed: true,
      remedy: "npm ci",
    },
    ...libraries.map((library) => ({
      what: library.name,
      found: library.found,
      detail: library.found ? library.version : `not in ${library.searched.join(", ")}`,
      needed: false,
      remedy: remedyOf(library.name),
    })),
    {
      what: "ONNX Runtime's CUDA provider",
      found: existsSync(provider),
      detail: existsSync(provider) ? provider : `${provider} is not there`,
      needed: false,
      remedy: `that of release ${onnxRuntime.version} for CUDA 13, from where docs/gpu.md says; for GPU training only`,
    },
    {
      what: "GPUs",
      found: devices.length > 0,
      detail:
        devices.map((device) => `${device.name} (${memoryText(device.memoryBytes)})`).join(", ") || "none",
      needed: false,
      remedy: "an NVIDIA driver for CUDA 13 (580 or newer) and a GPU; training on the host works without",
    },
  ];
}

/** pip packages that bring a library, by the first words of its name. */
const CUDA_PACKAGES: readonly (readonly [name: string, packages: string])[] = [
  ["CUDA runtime", "nvidia-cuda-runtime"],
  ["NVRTC", "nvidia-cuda-nvrtc"],
  ["cuBLAS", "nvidia-cublas"],
  ["cuRAND", "nvidia-curand"],
  ["cuFFT", "nvidia-cufft"],
  ["nvJitLink", "nvidia-nvjitlink"],
  ["cuDNN", "nvidia-cudnn-cu13"],
  ["NCCL", "nvidia-nccl-cu13"],
];

function remedyOf(library: string): string {
  const known = CUDA_PACKAGES.find(([name]) => library.startsWith(name));
  return known
    ? `pip install ${known[1]}, or set GALVATRON_CUDA_LIBRARIES to its folder (docs/gpu.md); for GPU training only`
    : "npm run build:cuda, which needs nvcc 13 (docs/gpu.md); for GPU training only";
}

function notebookFindings(): readonly Finding[] {
  const jupyter = commandLine("jupyter", ["--version"]);
  const lab = commandLine("jupyter", ["lab", "--version"]);
  const chromium = ["chromium", "chromium-browser", "google-chrome"].find(isOnPath);
  return [
    {
      what: "Jupyter",
      found: jupyter !== null,
      detail: jupyter ?? "jupyter does not run",
      needed: false,
      remedy: "pip install jupyterlab; `galvatron notebook run` works without it",
    },
    {
      what: "JupyterLab",
      found: lab !== null,
      detail: lab ?? "jupyter lab does not run",
      needed: false,
      remedy: "pip install jupyterlab, then: npx galvatron kernel install --user",
    },
    {
      what: "Chromium",
      found: chromium !== undefined,
      detail: chromium ?? "not on the path",
      needed: false,
      remedy: "sudo apt-get install chromium; needed for browser tests only",
    },
  ];
}

/** First line of what a command says, or null when it does not run. */
function commandLine(command: string, args: readonly string[]): string | null {
  const { status, stdout } = spawnSync(command, [...args], { encoding: "utf8", timeout: 10_000 });
  return status === 0 ? (stdout.split("\n").find((line) => line.trim() !== "") ?? "").trim() : null;
}

function isOnPath(command: string): boolean {
  const { stdout } = spawnSync("sh", ["-c", 'printf %s "$PATH"'], { encoding: "utf8" });
  return stdout.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
