import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DTYPE_BYTES, type Dtype } from "../base/units.js";
import { elementCount } from "./ir.js";

/** ONNX TensorProto.DataType. */
const DATA_TYPE: Readonly<Record<Dtype, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

/** An attribute with the type that ONNX gives it. */
export type OnnxAttribute =
  | { readonly name: string; readonly float: number }
  | { readonly name: string; readonly int: number }
  | { readonly name: string; readonly ints: readonly number[] }
  | { readonly name: string; readonly string: string };

export interface OnnxNode {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly OnnxAttribute[];
}

export interface OnnxTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export interface OnnxPort {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  readonly opsets: readonly { readonly domain: string; readonly version: number }[];
}

export function onnxDataType(dtype: Dtype): number {
  return DATA_TYPE[dtype];
}

function bfloat16Bits(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0]!;
  // Round to nearest, ties to even.
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Little-endian bytes of a tensor; one value stands for all elements. */
function rawBytes(tensor: OnnxTensor): Uint8Array {
  const count = elementCount(tensor.shape);
  const bytes = new Uint8Array(count * DTYPE_BYTES[tensor.dtype]);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const value = tensor.values.length === 1 ? tensor.values[0]! : tensor.values[i]!;
    if (tensor.dtype === "float32") view.setFloat32(4 * i, value, true);
    else if (tensor.dtype === "float64") view.setFloat64(8 * i, value, true);
    else if (tensor.dtype === "int64") view.setBigInt64(8 * i, BigInt(value), true);
    else if (tensor.dtype === "int32") view.setInt32(4 * i, value, true);
    else if (tensor.dtype === "bfloat16") view.setUint16(2 * i, bfloat16Bits(value), true);
    else if (tensor.dtype === "bool" || tensor.dtype === "uint8") view.setUint8(i, value);
    else throw new TypeError(`constants of ${tensor.dtype} are not written`);
  }
  return bytes;
}

function message(writer: BinaryWriter, field: number, write: (inner: BinaryWriter) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function integer(writer: BinaryWriter, field: number, value: number): void {
  writer.tag(field, WireType.Varint).int64(value);
}

/** AttributeProto: name 1, f 2, i 3, s 4, ints 8, type 20. */
function writeAttribute(writer: BinaryWriter, attribute: OnnxAttribute): void {
  text(writer, 1, attribute.name);
  if ("float" in attribute) {
    writer.tag(2, WireType.Bit32).float(attribute.float);
    integer(writer, 20, 1);
  } else if ("int" in attribute) {
    integer(writer, 3, attribute.int);
    integer(writer, 20, 2);
  } else if ("string" in attribute) {
    text(writer, 4, attribute.string);
    integer(writer, 20, 3);
  } else {
    for (const value of attribute.ints) integer(writer, 8, value);
    integer(writer, 20, 7);
  }
}

/** NodeProto: input 1, output 2, name 3, op_type 4, attribute 5, domain 7. */
function writeNode(writer: BinaryWriter, node: OnnxNode, index: number): void {
  for (const input of node.inputs) text(writer, 1, input);
  for (const output of node.outputs) text(writer, 2, output);
  text(writer, 3, `${node.op}.${index}`);
  text(writer, 4, node.op);
  for (const attribute of node.attributes) message(writer, 5, (inner) => writeAttribute(inner, attribute));
  if (node.domain !== "") text(writer, 7, node.domain);
}

/** TensorProto: dims 1, data_type 2, name 8, raw_data 9. */
function writeTensor(writer: BinaryWriter, tensor: OnnxTensor): void {
  for (const extent of tensor.shape) integer(writer, 1, extent);
  integer(writer, 2, DATA_TYPE[tensor.dtype]);
  text(writer, 8, tensor.name);
  writer.tag(9, WireType.LengthDelimited).bytes(rawBytes(tensor));
}

/** ValueInfoProto: name 1, type 2; TypeProto.tensor_type 1; elem_type 1, shape 2; dim 1; dim_value 1. */
function writePort(writer: BinaryWriter, port: OnnxPort): void {
  text(writer, 1, port.name);
  message(writer, 2, (type) =>
    message(type, 1, (tensor) => {
      integer(tensor, 1, DATA_TYPE[port.dtype]);
      message(tensor, 2, (shape) => {
        for (const extent of port.shape) message(shape, 1, (dim) => integer(dim, 1, extent));
      });
    }),
  );
}

/**
 * Bytes of an ONNX model. Field numbers are those of onnx.proto3 (IR version 10); equal graphs give equal bytes.
 * ModelProto: ir_version 1, producer_name 2, graph 7, opset_import 8 (domain 1, version 2).
 * GraphProto: node 1, name 2, initializer 5, input 11, output 12.
 */
export function writeOnnx(graph: OnnxGraph): Uint8Array {
  const writer = new BinaryWriter();
  integer(writer, 1, 10);
  text(writer, 2, "galvatron");
  message(writer, 7, (inner) => {
    graph.nodes.forEach((node, index) => {
      message(inner, 1, (n) => writeNode(n, node, index));
    });
    text(inner, 2, graph.name);
    for (const tensor of graph.initializers) message(inner, 5, (t) => writeTensor(t, tensor));
    for (const port of graph.inputs) message(inner, 11, (p) => writePort(p, port));
    for (const port of graph.outputs) message(inner, 12, (p) => writePort(p, port));
  });
  for (const opset of graph.opsets) {
    message(writer, 8, (inner) => {
      text(inner, 1, opset.domain);
      integer(inner, 2, opset.version);
    });
  }
  return writer.finish();
}
