import { type Table, tableFromIPC } from "apache-arrow";
import { GalvatronError } from "../base/errors.js";
import { type ColumnValue, tableRecords } from "../base/records-table.js";

/**
 * The table in the bytes of an `.arrow` file.
 * @throws GalvatronError PROFILE_INVALID
 */
export function tableOfFile(bytes: Uint8Array): Table {
  try {
    const table = tableFromIPC(bytes);
    if (table.schema.fields.length === 0) throw new TypeError("no columns");
    return table;
  } catch (cause) {
    throw new GalvatronError("PROFILE_INVALID", "This is no Arrow file, or it is cut short.", {}, { cause });
  }
}

/**
 * The rows of any `.arrow` file.
 * @throws GalvatronError PROFILE_INVALID
 */
export function recordsOfFile(bytes: Uint8Array): readonly Readonly<Record<string, ColumnValue>>[] {
  return tableRecords(tableOfFile(bytes));
}
