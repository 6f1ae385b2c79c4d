import { closeSync, openSync, readSync, statSync } from "node:fs";
import { GalvatronError } from "../../../base/errors.js";
import type { ElementType, FileArray } from "../dataset.js";
import { ELEMENT_BYTES } from "../sources/elements.js";

const MAGIC = "\x93NUMPY";
/** Longest header that is believed. */
const MAX_HEADER_BYTES = 65536;

/** NumPy's names of little-endian (or one-byte) element types. */
const TYPES: Readonly<Record<string, ElementType>> = {
  "|b1": "bool",
  "|u1": "uint8",
  "|i1": "int8",
  "<u2": "uint16",
  "<i2": "int16",
  "<u4": "uint32",
  "<i4": "int32",
  "<i8": "int64",
  "<u8": "uint64",
  "<f4": "float32",
  "<f8": "float64",
};

/**
 * What a `.npy` file holds and where (NumPy's format, versions 1 to 3). Reads the header only.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID naming the file
 */
export function npyArray(path: string): FileArray {
  const { head, sizeBytes } = headOf(path);
  const refuse = (why: string): never => {
    throw new GalvatronError("DATA_INVALID", `${path} is no .npy array that can be read: ${why}.`, { path });
  };
  if (head.toString("latin1", 0, 6) !== MAGIC || head.length < 12) return refuse("it does not start as one");
  const version = head[6]!;
  if (version < 1 || version > 3) return refuse(`its format version is ${version}, expected 1 to 3`);
  const start = version === 1 ? 10 : 12;
  const offsetBytes = start + (version === 1 ? head.readUInt16LE(8) : head.readUInt32LE(8));
  if (offsetBytes > head.length) return refuse("its header is cut off");
  const header = head.toString("latin1", start, offsetBytes);
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const shapeText = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (descr === undefined || shapeText === undefined) return refuse("its header names no type and shape");
  const type = TYPES[descr];
  if (!type) return refuse(`its type is ${descr}, expected one of ${Object.keys(TYPES).join(", ")}`);
  if (/'fortran_order':\s*True/.test(header))
    return refuse("it lies in Fortran order; save numpy.ascontiguousarray(…) of it");
  const shape = shapeText.split(",").flatMap((part) => (part.trim() === "" ? [] : [Number(part)]));
  if (shape.some((extent) => !Number.isSafeInteger(extent) || extent < 0))
    return refuse(`its shape is (${shapeText})`);
  const bytes = shape.reduce((product, extent) => product * extent, ELEMENT_BYTES[type]);
  if (sizeBytes !== offsetBytes + bytes)
    return refuse(
      `shape (${shape.join(", ")}) of ${type} needs ${offsetBytes + bytes} bytes, it has ${sizeBytes}`,
    );
  return { path, sizeBytes, type, offsetBytes, shape };
}

function headOf(path: string): { readonly head: Buffer; readonly sizeBytes: number } {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const head = Buffer.alloc(MAX_HEADER_BYTES);
    return { head: head.subarray(0, readSync(file, head)), sizeBytes: statSync(path).size };
  } catch (cause) {
    throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}.`, { path }, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Bytes before the elements in the files that {@link npyHeader} starts. */
const OWN_HEADER_BYTES = 128;

/** Start of a `.npy` file: always as long, so that it can be written once the number of rows is known. */
export function npyHeader(type: "uint8" | "float32" | "int32", shape: readonly number[]): Buffer {
  const descr = { uint8: "|u1", float32: "<f4", int32: "<i4" }[type];
  const dictionary = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const header = Buffer.alloc(OWN_HEADER_BYTES, " ");
  header.write(`${MAGIC}\x01\x00`, 0, "latin1");
  header.writeUInt16LE(OWN_HEADER_BYTES - 10, 8);
  header.write(dictionary, 10, "latin1");
  header.write("\n", OWN_HEADER_BYTES - 1, "latin1");
  return header;
}
