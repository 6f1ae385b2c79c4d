import type { Dtype } from "../../src/base/units.js";

/** Just enough of ONNX's protobuf to write small graphs by hand, so that native tests need no graph builder. */

const ELEMENT_TYPES: Readonly<Record<Dtype, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

export interface TinyValue {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface TinyNode {
  readonly op: string;
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Integer attributes. */
  readonly attributes?: Readonly<Record<string, number>>;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

const integer = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
const message = (field: number, bytes: readonly number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(bytes.length),
  ...bytes,
];
const text = (field: number, value: string): number[] => message(field, [...Buffer.from(value)]);

function valueInfo(value: TinyValue): number[] {
  const shape = value.shape.flatMap((extent) => message(1, integer(1, extent)));
  const tensor = [...integer(1, ELEMENT_TYPES[value.dtype]), ...message(2, shape)];
  return [...text(1, value.name), ...message(2, message(1, tensor))];
}

function node(it: TinyNode): number[] {
  const attributes = Object.entries(it.attributes ?? {}).flatMap(([name, value]) =>
    message(5, [...text(1, name), ...integer(3, value), ...integer(20, 2)]),
  );
  return [
    ...it.inputs.flatMap((name) => text(1, name)),
    ...it.outputs.flatMap((name) => text(2, name)),
    ...text(4, it.op),
    ...attributes,
    ...(it.domain === undefined ? [] : text(7, it.domain)),
  ];
}

export function tinyOnnx(
  nodes: readonly TinyNode[],
  inputs: readonly TinyValue[],
  outputs: readonly TinyValue[],
): Uint8Array {
  const graph = [
    ...nodes.flatMap((it) => message(1, node(it))),
    ...text(2, "tiny"),
    ...inputs.flatMap((value) => message(11, valueInfo(value))),
    ...outputs.flatMap((value) => message(12, valueInfo(value))),
  ];
  const domains = ["", ...new Set(nodes.flatMap((it) => it.domain ?? []))];
  return Uint8Array.from([
    ...integer(1, 9),
    ...text(2, "galvatron"),
    ...message(7, graph),
    ...domains.flatMap((domain) =>
      message(8, [...(domain === "" ? [] : text(1, domain)), ...integer(2, domain === "" ? 21 : 1)]),
    ),
  ]);
}
