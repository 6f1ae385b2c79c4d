import {
  Bool,
  type DataType,
  Field,
  Float64,
  Int32,
  makeBuilder,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  Utf8,
  type Vector,
} from "apache-arrow";

/** Type of a column; `?` allows null. */
export type ColumnType = "text" | "float64" | "int32" | "bool" | "text?" | "float64?" | "int32?";

export type ColumnValue = string | number | boolean | null;

/** Equal records as an Arrow table with a stated schema: also right when there is no record at all. */
export function recordsTable(
  columns: Readonly<Record<string, ColumnType>>,
  records: readonly Readonly<Record<string, ColumnValue>>[],
  metadata: Readonly<Record<string, string>> = {},
): Table {
  const names = Object.keys(columns);
  const fields = names.map(
    (name) => new Field(name, arrowType(columns[name]!), columns[name]!.endsWith("?")),
  );
  const vectors = names.map((name, index) =>
    columnVector(
      fields[index]!.type,
      records.map((record) => record[name] ?? null),
    ),
  );
  const schema = new Schema(fields, new Map(Object.entries(metadata)));
  const data = makeData({
    type: new Struct(fields),
    length: records.length,
    nullCount: 0,
    children: vectors.map((vector) => vector.data[0]!),
  });
  return new Table(schema, [new RecordBatch(schema, data)]);
}

/** The records of a table, in order, as plain objects. */
export function tableRecords(table: Table): readonly Readonly<Record<string, ColumnValue>>[] {
  const names = table.schema.fields.map((field) => field.name);
  const vectors = names.map((name) => table.getChild(name)!);
  return Array.from({ length: table.numRows }, (_, row) =>
    Object.fromEntries(names.map((name, index) => [name, vectors[index]!.get(row) as ColumnValue])),
  );
}

function arrowType(type: ColumnType): DataType {
  switch (type) {
    case "text":
    case "text?":
      return new Utf8();
    case "float64":
    case "float64?":
      return new Float64();
    case "int32":
    case "int32?":
      return new Int32();
    case "bool":
      return new Bool();
  }
}

function columnVector(type: DataType, values: readonly ColumnValue[]): Vector {
  const builder = makeBuilder({ type, nullValues: [null] });
  for (const value of values) builder.append(value as never);
  return builder.finish().toVector();
}
