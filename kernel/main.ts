/** The kernel's process: `node dist/kernel/main.js <connection file>`. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseConnection } from "../src/notebook/connection-json.js";
import { Kernel } from "./kernel.js";
import type { StreamName } from "./output-streams.js";
import { sdkPrelude } from "./prelude.js";

const SDK_NAME = "galvatron-ts";

/** Read before anything else: a launcher that dies while we start is missed, too. */
const parentPid = process.ppid;

/** dist/kernel/main.js lies two folders under the package. */
const packageFolder = path.resolve(__dirname, "..", "..");
const sdkEntry = path.resolve(__dirname, "..", "src", "index");

function launcherPid(): number | undefined {
  const pid = Number(process.env.JPY_PARENT_PID);
  return Number.isInteger(pid) && pid > 1 ? pid : undefined;
}

async function main(): Promise<void> {
  const file = process.argv[2];
  if (!file)
    throw new Error("Expected the path of a connection file: front ends start this program, not people.");
  const { version } = JSON.parse(readFileSync(path.join(packageFolder, "package.json"), "utf8")) as {
    version: string;
  };
  const declarations = `${sdkEntry}.d.ts`;
  const kernel = new Kernel({
    connection: parseConnection(readFileSync(file, "utf8"), file),
    launcherPid: launcherPid(),
    parentPid,
    kernelId: /kernel-([0-9a-f-]{36})\.json$/.exec(file)?.[1],
    version,
    folder: process.cwd(),
    modules: { sdk: SDK_NAME, sdkEntry, packageFolder },
    prelude: existsSync(declarations) ? sdkPrelude(SDK_NAME, declarations) : "",
    exit: (code) => process.exit(code),
  });
  await kernel.start();
  process.on("uncaughtException", (error) => kernel.reportUncaught(error));
  process.on("unhandledRejection", (error) => kernel.reportUncaught(error));
  takeStream(kernel, "stdout");
  takeStream(kernel, "stderr");
}

/** What this process prints is output of a cell. */
function takeStream(kernel: Kernel, name: StreamName): void {
  const decoder = new TextDecoder();
  process[name].write = (
    chunk: string | Uint8Array,
    encodingOrCallback?: BufferEncoding | ((error?: Error | null) => void),
    callback?: (error?: Error | null) => void,
  ): boolean => {
    kernel.write(name, typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }));
    const done = typeof encodingOrCallback === "function" ? encodingOrCallback : callback;
    if (done) queueMicrotask(done);
    return true;
  };
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
