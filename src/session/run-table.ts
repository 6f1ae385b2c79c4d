import type { Table } from "apache-arrow";
import { type ColumnType, recordsTable } from "../base/records-table.js";
import type { StepRecord } from "../program/step-record.js";

const COLUMNS: Readonly<Record<Exclude<keyof StepRecord, "samples">, ColumnType>> = {
  step: "int32",
  rank: "int32",
  loss: "float64",
  gradientNorm: "float64",
  learningRate: "float64",
  stepMs: "float64",
  tokensPerSecond: "float64",
  memoryBytes: "float64",
  peakMemoryBytes: "float64",
};

/** What every rank did in every step, one row each. */
export function runTable(records: readonly StepRecord[]): Table {
  return recordsTable(
    COLUMNS,
    records.map((record) => ({ ...record })),
  );
}
