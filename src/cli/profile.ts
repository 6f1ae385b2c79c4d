import { GalvatronError } from "../base/errors.js";
import { textTable } from "../display/html-table.js";
import { readArguments } from "./args.js";
import { clusterOf, MODEL_FLAGS, modelOf, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { type Command, printJson } from "./terminal.js";

/** `galvatron profile hardware|model`: measures, keeps, and tells what was measured. */
export const profileCommand: Command = async (args, terminal) => {
  const { flags, words } = readArguments(args, {
    words: true,
    values: [...MODEL_FLAGS, ...SESSION_FLAGS],
    switches: ["json", "again", "quiet"],
  });
  const [what] = words;
  if (what !== "hardware" && what !== "model")
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected "profile hardware" or "profile model", got "${words.join(" ")}".`,
    );
  const session = sessionOf(flags, terminal);
  const again = flags["again"] === true;
  const machine = clusterOf(flags, session);
  if (what === "hardware") {
    await machine.profile({ again });
    const hardware = machine.profiled().hardware;
    if (flags["json"]) printJson(terminal, { path: machine.profilePath, profile: hardware });
    else {
      terminal.out(`${machine}\n${machine.profilePath}\n\n`);
      terminal.out(
        `${textTable(
          ["matrix product", "ms", "GFLOP/s"],
          hardware.matmuls.map(({ m, k, n, timeMs }) => [
            `${m}×${k}×${n}`,
            timeMs,
            (2 * m * k * n) / (timeMs * 1e6),
          ]),
        )}\n\n`,
      );
      terminal.out(
        `${textTable(
          ["collective", "ranks", "stride", "bytes", "ms", "GB/s"],
          hardware.collectives.map((c) => [
            c.collective,
            c.ranks,
            c.stride,
            c.sizeBytes,
            c.timeMs,
            c.sizeBytes / (c.timeMs * 1e6),
          ]),
        )}\n`,
      );
    }
    return 0;
  }
  const model = modelOf(flags, session);
  await model.profile({ on: machine, again });
  const rows = [...model.table()].map((row) => row.toJSON());
  if (flags["json"]) printJson(terminal, { path: model.profilePath, layers: rows });
  else {
    const columns = Object.keys(rows[0] ?? {});
    terminal.out(`${model}\n${model.profilePath}\n\n`);
    terminal.out(
      `${textTable(
        columns,
        rows.map((row) => columns.map((column) => row[column] as string | number)),
      )}\n`,
    );
  }
  return 0;
};
