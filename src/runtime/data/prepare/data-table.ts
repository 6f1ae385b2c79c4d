import { createReadStream } from "node:fs";
import decompressLz4 from "@foxglove/wasm-lz4";
import {
  CompressionType,
  compressionRegistry,
  type DataType,
  RecordBatchReader,
  type Vector,
} from "apache-arrow";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { compressors, decompressZstd } from "hyparquet-compressors";
import { GalvatronError } from "../../../base/errors.js";

/** Some rows of a table: for each column asked for, its values; lists of numbers are arrays. */
export interface TableRows {
  readonly columns: readonly (readonly unknown[])[];
  /** Share of the file that has been read, in [0, 1]. */
  readonly share: number;
}

/**
 * Columns of an Arrow (IPC file, stream, Feather) or Parquet file, piece by piece.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID naming the file
 */
export async function* tableRows(path: string, columns: readonly string[]): AsyncGenerator<TableRows> {
  const isParquet = /\.parquet$/i.test(path);
  try {
    yield* isParquet ? parquetRows(path, columns) : arrowRows(path, columns);
  } catch (cause) {
    if (cause instanceof GalvatronError) throw cause;
    const { code, message } = cause as { code?: string; message?: string };
    if (code === "ENOENT" || code === "EACCES")
      throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}.`, { path }, { cause });
    throw new GalvatronError(
      "DATA_INVALID",
      `${path} is no ${isParquet ? "Parquet" : "Arrow"} file that can be read: ${message ?? String(cause)}.`,
      { path },
      { cause },
    );
  }
}

async function* parquetRows(path: string, columns: readonly string[]): AsyncGenerator<TableRows> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  mustHave(
    path,
    columns,
    parquetSchema(metadata).children.map((child) => child.element.name),
  );
  let [rowStart, done] = [0, 0];
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await parquetReadObjects({
      file,
      metadata,
      columns: [...columns],
      rowStart,
      rowEnd,
      compressors,
    });
    if (rows.length !== rowEnd - rowStart)
      throw new RangeError(`rows ${rowStart} to ${rowEnd} are not all there`);
    rowStart = rowEnd;
    done++;
    yield {
      columns: columns.map((column) => rows.map((row) => plain(row[column]))),
      share: done / metadata.row_groups.length,
    };
  }
}

/** Bytes of the length that Arrow writes before every compressed buffer, int64. */
const LENGTH_BYTES = 8;

/** A buffer of exactly the length that its file promises. */
function decoded(data: Uint8Array, decode: (data: Uint8Array, length: number) => Uint8Array): Uint8Array {
  // The reader hands over what follows the length, as a view.
  const prefix = new DataView(data.buffer, data.byteOffset - LENGTH_BYTES, LENGTH_BYTES);
  const length = Number(prefix.getBigInt64(0, true));
  const bytes = decode(data, length);
  if (bytes.length !== length)
    throw new RangeError(`a compressed column holds ${bytes.length} bytes instead of ${length}`);
  // Typed views of the column need their alignment.
  return bytes.byteOffset % LENGTH_BYTES === 0 ? bytes : bytes.slice();
}

async function* arrowRows(path: string, columns: readonly string[]): AsyncGenerator<TableRows> {
  await decompressLz4.isLoaded;
  compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: (data) => decoded(data, decompressLz4) });
  compressionRegistry.set(CompressionType.ZSTD, {
    decode: (data) => decoded(data, (all) => decompressZstd(all)),
  });
  const reader = await RecordBatchReader.from(createReadStream(path));
  await reader.open();
  if (!reader.schema) throw new RangeError("it has no schema");
  mustHave(
    path,
    columns,
    reader.schema.fields.map((field) => field.name),
  );
  let batches = 0;
  for await (const batch of reader) {
    batches++;
    yield {
      columns: columns.map((column) => valuesOf(batch.getChild(column)!)),
      share: batches / (batches + 1),
    };
  }
}

function valuesOf(column: Vector<DataType>): readonly unknown[] {
  return Array.from({ length: column.length }, (_, row) => plain(column.get(row)));
}

/** Whole numbers beyond 32 bits come as bigint, lists as vectors. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return Array.from(value as Uint8Array, plain);
  if (Symbol.iterator in value) return Array.from(value as Iterable<unknown>, plain);
  return value;
}

function mustHave(path: string, wanted: readonly string[], there: readonly string[]): void {
  const missing = wanted.find((name) => !there.includes(name));
  if (missing !== undefined)
    throw new GalvatronError(
      "DATA_INVALID",
      `${path} has no column "${missing}"; it has ${there.map((name) => `"${name}"`).join(", ")}.`,
      { path, column: missing },
    );
}
