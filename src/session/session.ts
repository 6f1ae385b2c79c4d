import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import type { Machine } from "../runtime/machine.js";
import { defaultReporter, type Reporter } from "./reporter.js";

/** What handles share: where things lie, who is told, and which machine was profiled last. */
export interface Session {
  /** Relative data paths start here. */
  readonly folder: string;
  /** Profiles are kept in the `.galvatron` of this folder. */
  readonly projectFolder: string;
  readonly reporter: Reporter;
  lastProfiled: ProfiledMachine | null;
}

export interface ProfiledMachine {
  readonly machine: Machine;
  readonly hardware: HardwareProfile;
  /** It is planned for, not trained on: its profile is estimated or was brought along. */
  readonly elsewhere: boolean;
}

export interface SessionOptions {
  readonly folder?: string;
  readonly reporter?: Reporter;
}

export function newSession(options: SessionOptions = {}): Session {
  const folder = options.folder ?? process.cwd();
  return {
    folder,
    projectFolder: options.folder ?? projectFolderOf(folder),
    reporter: options.reporter ?? defaultReporter(),
    lastProfiled: null,
  };
}

/** The nearest folder upwards that is a package: notebooks in its subfolders share their profiles. */
function projectFolderOf(folder: string): string {
  for (let at = folder; at !== dirname(at); at = dirname(at))
    if (existsSync(join(at, "package.json"))) return at;
  return folder;
}

/** Counts up when measuring changes so that old profiles say something else than new ones would. */
const PROFILER_VERSION = 16;

/** What a profile depends on besides machine and model. */
export function profileVersions(): Readonly<Record<string, string | number>> {
  const { version, dependencies } = packageManifest();
  return {
    galvatron: version,
    onnxruntime: dependencies["onnxruntime-node"] ?? "",
    profiler: PROFILER_VERSION,
  };
}

function packageManifest(): {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
} {
  // Sources lie in src/session, the built package in dist/src/session.
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      if (manifest.name === "galvatron-ts") return manifest;
    } catch {
      // not here: look one folder further up
    }
  }
  throw new TypeError("the package's own package.json is missing");
}
