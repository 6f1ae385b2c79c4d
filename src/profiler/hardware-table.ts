import { type Table, tableToIPC } from "apache-arrow";
import { GalvatronError } from "../base/errors.js";
import { type ColumnType, recordsTable, tableRecords } from "../base/records-table.js";
import type { CollectiveSample, HardwareProfile, MatmulSample } from "../cluster/hardware-profile.js";
import { tableOfFile } from "./file-table.js";
import { parseHardwareSummary } from "./profile-json.js";

/** One row per measurement: a matrix product or a collective; the columns of the other kind are null. */
const COLUMNS: Readonly<Record<string, ColumnType>> = {
  measurement: "text",
  m: "int32?",
  k: "int32?",
  n: "int32?",
  dtype: "text?",
  collective: "text?",
  ranks: "int32?",
  stride: "int32?",
  nodes: "int32?",
  concurrentGroups: "int32?",
  sizeBytes: "float64?",
  timeMs: "float64",
};

/** Key of the table's metadata under which everything that is no row stands, as JSON. */
const METADATA_KEY = "galvatron.hardware";

/** A hardware profile as an Arrow table: measurements as rows, the rest in the metadata. Exact both ways. */
export function hardwareTable(profile: HardwareProfile): Table {
  const { matmuls, collectives, ...summary } = profile;
  return recordsTable(
    COLUMNS,
    [
      ...matmuls.map((sample) => ({ measurement: "matmul", ...sample })),
      ...collectives.map((sample) => ({ measurement: "collective", ...sample })),
    ],
    { [METADATA_KEY]: JSON.stringify(summary) },
  );
}

/** @throws GalvatronError PROFILE_INVALID */
export function hardwareProfileOf(table: Table): HardwareProfile {
  const summary = table.schema.metadata.get(METADATA_KEY);
  if (summary === undefined)
    throw new GalvatronError(
      "PROFILE_INVALID",
      `The table is no hardware profile: no "${METADATA_KEY}" in it.`,
    );
  const matmuls: MatmulSample[] = [];
  const collectives: CollectiveSample[] = [];
  for (const { measurement, m, k, n, dtype, ...row } of tableRecords(table)) {
    const { timeMs, ...group } = row;
    if (measurement === "matmul") matmuls.push({ m, k, n, dtype, timeMs } as unknown as MatmulSample);
    else collectives.push({ ...group, timeMs } as unknown as CollectiveSample);
  }
  return { ...parseHardwareSummary(summary), matmuls, collectives };
}

/** Bytes of an `.arrow` file (Arrow IPC file format). */
export function writeHardwareTable(profile: HardwareProfile): Uint8Array {
  return tableToIPC(hardwareTable(profile), "file");
}

/** @throws GalvatronError PROFILE_INVALID */
export function readHardwareTable(bytes: Uint8Array): HardwareProfile {
  return hardwareProfileOf(tableOfFile(bytes));
}
