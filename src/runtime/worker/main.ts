import { loadAddon } from "../../device/load-addon.js";
import { parseToWorker } from "../wire.js";
import { openRank } from "./rank.js";

// Read when ONNX Runtime's library is opened. Otherwise it keeps a database in the home folder and sends reports over the
// network, from a thread that takes 1 MB some seconds into a run.
process.env.ORT_DISABLE_TELEMETRY = "1";

// The process of one rank. It decides nothing: it answers messages until its coordinator goes.
const rank = openRank(loadAddon(), (message) => process.send?.(message));
process.on("message", (message) => rank.receive(parseToWorker(message)));
process.on("disconnect", () => rank.orphaned());
// Ctrl-C reaches the whole process group; what it means for the run is the coordinator's to say.
process.on("SIGINT", () => {});
