import { type Table, tableToIPC } from "apache-arrow";
import { GalvatronError } from "../base/errors.js";
import { type ColumnType, recordsTable, tableRecords } from "../base/records-table.js";
import type { LayerSample, ModelProfile } from "../model/model-profile.js";
import { tableOfFile } from "./file-table.js";
import { parseModelSummary } from "./profile-json.js";

const COLUMNS: Readonly<Record<keyof LayerSample, ColumnType>> = {
  kind: "text",
  tensorDegree: "int32",
  tensorSplit: "text",
  samples: "int32",
  sequence: "int32",
  forwardMs: "float64",
  backwardMs: "float64",
  activationBytes: "float64",
  inputBytes: "float64",
  parameterElements: "float64",
  workspaceBytes: "float64",
};

const METADATA_KEY = "galvatron.model";

/** A model profile as an Arrow table: one row per layer sample, the model itself in the metadata. Exact both ways. */
export function modelTable(profile: ModelProfile): Table {
  const { layers, ...summary } = profile;
  return recordsTable(
    COLUMNS,
    layers.map((sample) => ({ ...sample })),
    { [METADATA_KEY]: JSON.stringify(summary) },
  );
}

/** @throws GalvatronError PROFILE_INVALID */
export function modelProfileOf(table: Table): ModelProfile {
  const summary = table.schema.metadata.get(METADATA_KEY);
  if (summary === undefined)
    throw new GalvatronError("PROFILE_INVALID", `The table is no model profile: no "${METADATA_KEY}" in it.`);
  return {
    ...parseModelSummary(summary),
    layers: tableRecords(table).map((row) => row as unknown as LayerSample),
  };
}

/** Bytes of an `.arrow` file (Arrow IPC file format). */
export function writeModelTable(profile: ModelProfile): Uint8Array {
  return tableToIPC(modelTable(profile), "file");
}

/** @throws GalvatronError PROFILE_INVALID */
export function readModelTable(bytes: Uint8Array): ModelProfile {
  return modelProfileOf(tableOfFile(bytes));
}
