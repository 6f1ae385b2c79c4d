import { parentPort, workerData } from "node:worker_threads";
import { isGalvatronError } from "../../../base/errors.js";
import { type FromPreparer, type PrepareTask, prepare } from "./prepare.js";

// The thread that reads what must be read once before training.
const tell = (message: FromPreparer): void => parentPort?.postMessage(message);
prepare(workerData as PrepareTask, (progress) => tell({ kind: "progress", progress })).then(
  (prepared) => tell({ kind: "prepared", prepared }),
  (error: unknown) =>
    tell(
      isGalvatronError(error)
        ? { kind: "failed", code: error.code, message: error.message, context: error.context }
        : { kind: "failed", code: "DATA_INVALID", message: String(error), context: {} },
    ),
);
