import { loadAddon } from "../../device/load-addon.js";
import { parseToWorker } from "../wire.js";
import { openRank } from "./rank.js";

// The process of one rank. It decides nothing: it answers messages until its coordinator goes.
const rank = openRank(loadAddon(), (message) => process.send?.(message));
process.on("message", (message) => rank.receive(parseToWorker(message)));
process.on("disconnect", () => rank.orphaned());
// Ctrl-C reaches the whole process group; what it means for the run is the coordinator's to say.
process.on("SIGINT", () => {});
