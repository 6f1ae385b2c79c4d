import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir, platform } from "node:os";
import path from "node:path";
import { GalvatronError } from "../base/errors.js";
import { KERNEL_NAME, kernelArgv } from "./embedded-server.js";
import { packageFolder } from "./package-folder.js";
import { plotlyPath } from "./page-plotly.js";

/** Where Jupyter looks for kernels: the user's own folder, the Python environment in use, or any prefix. */
export type KernelPlace =
  | { readonly kind: "user" }
  | { readonly kind: "sys-prefix" }
  | { readonly kind: "prefix"; readonly prefix: string };

const LOGOS = ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"];

/**
 * Writes the kernelspec. No Python is needed: paths are absolute, and plotly.js lies beside kernel.json, where every
 * Jupyter server hands it out to its pages.
 * @returns the folder of the kernelspec
 * @throws GalvatronError FILE_UNWRITABLE, or KERNEL_FAILED when the package is not built
 */
export function installKernel(place: KernelPlace): string {
  const folder = kernelFolder(place);
  const argv = kernelArgv();
  const program = argv.find((word) => word.endsWith("main.js"))!;
  if (!existsSync(program)) {
    throw new GalvatronError(
      "KERNEL_FAILED",
      `${program} is missing: build the package first (npm run build).`,
      {
        program,
      },
    );
  }
  try {
    mkdirSync(folder, { recursive: true });
    const spec = {
      argv,
      display_name: "Galvatron",
      language: "typescript",
      interrupt_mode: "message",
      env: {},
      metadata: { debugger: false },
    };
    writeFileSync(path.join(folder, "kernel.json"), `${JSON.stringify(spec, null, 1)}\n`);
    for (const logo of LOGOS) {
      copyFileSync(path.join(packageFolder(), "kernel", logo), path.join(folder, logo));
    }
    copyFileSync(plotlyPath(), path.join(folder, "plotly.min.js"));
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNWRITABLE",
      `The kernel cannot be written to ${folder}. Choose another place with --user or --prefix.`,
      { folder },
      { cause },
    );
  }
  return folder;
}

/** Removes what `installKernel` wrote. @returns the folder removed, or nothing when no kernel was there */
export function uninstallKernel(place: KernelPlace): string | undefined {
  const folder = kernelFolder(place);
  if (!existsSync(path.join(folder, "kernel.json"))) return undefined;
  rmSync(folder, { recursive: true });
  return folder;
}

function kernelFolder(place: KernelPlace): string {
  return path.join(dataFolder(place), "kernels", KERNEL_NAME);
}

function dataFolder(place: KernelPlace): string {
  switch (place.kind) {
    case "user":
      return userDataFolder();
    case "sys-prefix":
      return path.join(pythonPrefix(), "share", "jupyter");
    case "prefix":
      return path.join(path.resolve(place.prefix), "share", "jupyter");
  }
}

/** Jupyter itself knows best; without it, its documented defaults. */
function userDataFolder(): string {
  const told = ask("jupyter", ["--data-dir"]);
  if (told) return told;
  if (platform() === "darwin") return path.join(homedir(), "Library", "Jupyter");
  if (platform() === "win32") return path.join(homedir(), "AppData", "Roaming", "jupyter");
  return path.join(homedir(), ".local", "share", "jupyter");
}

function pythonPrefix(): string {
  const program = "import sys; print(sys.prefix)";
  const prefix = ask("python3", ["-c", program]) ?? ask("python", ["-c", program]);
  if (!prefix) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      "--sys-prefix installs into the Python environment in use, and no Python answered. Use --user or --prefix.",
    );
  }
  return prefix;
}

function ask(program: string, parameters: readonly string[]): string | undefined {
  try {
    const answer = execFileSync(program, parameters, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return answer.trim() || undefined;
  } catch {
    return undefined; // the program is not there: the caller has another way
  }
}
