import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { GalvatronError } from "../../../base/errors.js";
import type { OnProgress } from "../../../base/progress.js";
import { builtFile } from "../../built-file.js";
import { preparedFolder, temporaryEnding } from "./cache-files.js";
import type { FromPreparer, Prepared, PrepareTask } from "./prepare.js";

/** A preparation that says nothing for so long hangs in a broken file. */
export const STALL_MS: number = 60_000;
const MAX_HEAP_MB = 4096;

/**
 * {@link prepare} in a thread of its own: it does not hold up this one, and a file that makes a reader hang or fill the
 * memory ends the thread and not the process.
 *
 * @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, DATA_INVALID
 */
export function prepareInThread<Kind extends PrepareTask["kind"]>(
  task: Extract<PrepareTask, { kind: Kind }>,
  onProgress: OnProgress,
  stallMs: number,
): Promise<Extract<Prepared, { kind: Kind }>> {
  const worker = new Worker(builtFile("data/prepare/main.js"), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
  });
  const ending = temporaryEnding(worker.threadId);
  let reading = firstFile(task);
  return new Promise<Extract<Prepared, { kind: Kind }>>((resolve, reject) => {
    const broken = (why: string, cause?: unknown): void =>
      reject(
        new GalvatronError(
          "DATA_INVALID",
          `${reading} cannot be read: ${why}. The file is probably broken; write it anew.`,
          { path: reading },
          { cause },
        ),
      );
    const stalled = (): void => broken(`its reader said nothing for ${stallMs / 1000} s`);
    let timer = setTimeout(stalled, stallMs);
    worker.on("message", (message: FromPreparer) => {
      clearTimeout(timer);
      timer = setTimeout(stalled, stallMs);
      if (message.kind === "progress") {
        reading = message.progress.label;
        onProgress(message.progress);
      } else if (message.kind === "prepared") resolve(message.prepared as Extract<Prepared, { kind: Kind }>);
      else reject(new GalvatronError(message.code, message.message, message.context));
    });
    worker.on("error", (error) => broken(error.message, error));
    worker.on("exit", (code) => {
      clearTimeout(timer);
      broken(`its reader ended with code ${code}`);
    });
  }).finally(async () => {
    await worker.terminate();
    removeLeftovers(preparedFolder(task.folder), ending);
  });
}

function firstFile(task: PrepareTask): string {
  return (task.kind === "tokens" ? task.files[0]?.path : task.file.path) ?? "";
}

/** What a thread that was ended left half written. */
function removeLeftovers(folder: string, ending: string): void {
  let names: readonly string[];
  try {
    names = readdirSync(folder);
  } catch {
    return; // nothing was written
  }
  for (const name of names) if (name.endsWith(ending)) rmSync(join(folder, name), { force: true });
}
