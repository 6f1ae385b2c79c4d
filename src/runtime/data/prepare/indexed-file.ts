import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { GalvatronError } from "../../../base/errors.js";
import type { ElementType, TokenPiece } from "../dataset.js";
import { ELEMENT_BYTES } from "../sources/elements.js";

/**
 * Megatron-LM's indexed datasets: `NAME.bin` holds tokens, `NAME.idx` says where sequences and documents start.
 * Index, little-endian: "MMIDIDX\0\0", u64 version 1, u8 type, u64 sequences, u64 documents, then for each sequence its
 * length (i32) and where it starts in bytes (i64), and for each document its first sequence (i64). A file of several
 * modalities ends in one i8 for each sequence.
 */
const MAGIC = "MMIDIDX\0\0";
const HEADER_BYTES = 34;

/** Codes of the element types that can be tokens. */
const TYPES: Readonly<Record<number, ElementType>> = {
  1: "uint8",
  2: "int8",
  3: "int16",
  4: "int32",
  5: "int64",
  8: "uint16",
};

const CHUNK_ITEMS = 65536;

/**
 * The tokens of an indexed dataset as one run. The index is read and checked in pieces.
 *
 * @param prefix - path without ".bin" or ".idx"
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID naming the file
 */
export function indexedPiece(prefix: string): TokenPiece {
  const [indexPath, path] = [`${prefix}.idx`, `${prefix}.bin`];
  const file = openOr(indexPath);
  try {
    const refuse = (why: string): never => {
      throw new GalvatronError(
        "DATA_INVALID",
        `${indexPath} is no Megatron index that can be read: ${why}.`,
        {
          path: indexPath,
        },
      );
    };
    const header = readAt(file, 0, HEADER_BYTES);
    if (header.length < HEADER_BYTES || header.toString("latin1", 0, 9) !== MAGIC)
      return refuse("it does not start as one");
    const version = Number(header.readBigUInt64LE(9));
    if (version !== 1) return refuse(`its version is ${version}, expected 1`);
    const type = TYPES[header[17]!];
    if (!type) return refuse(`its tokens have type code ${header[17]}, expected a whole-number type`);
    const sequences = Number(header.readBigUInt64LE(18));
    const documents = Number(header.readBigUInt64LE(26));
    const expected = HEADER_BYTES + 12 * sequences + 8 * documents;
    const sizeBytes = fstatSync(file).size;
    if (sizeBytes !== expected && sizeBytes !== expected + sequences)
      return refuse(
        `${sequences} sequences in ${documents} documents need ${expected} bytes, it has ${sizeBytes}`,
      );
    const tokens = countTokens(file, sequences, ELEMENT_BYTES[type], refuse);
    const binBytes = sizeOr(path);
    if (binBytes !== tokens * ELEMENT_BYTES[type])
      throw new GalvatronError(
        "DATA_INVALID",
        `${path} has ${binBytes} bytes; its index counts ${tokens} tokens of ${type}, which are ${tokens * ELEMENT_BYTES[type]}. Both files must come from the same writer.`,
        { path, tokens },
      );
    return { path, sizeBytes: binBytes, type, offsetBytes: 0, tokens };
  } finally {
    closeSync(file);
  }
}

/** Sums the sequences' lengths, and checks that each starts where the one before ends: so all are one run. */
function countTokens(
  file: number,
  sequences: number,
  elementBytes: number,
  refuse: (why: string) => never,
): number {
  let tokens = 0;
  for (let first = 0; first < sequences; first += CHUNK_ITEMS) {
    const count = Math.min(CHUNK_ITEMS, sequences - first);
    const lengths = readAt(file, HEADER_BYTES + 4 * first, 4 * count);
    const starts = readAt(file, HEADER_BYTES + 4 * sequences + 8 * first, 8 * count);
    for (let i = 0; i < count; i++) {
      const start = starts.readUInt32LE(8 * i) + 2 ** 32 * starts.readInt32LE(8 * i + 4);
      if (start !== tokens * elementBytes)
        refuse(
          `sequence ${first + i} starts at byte ${start}, the one before it ends at ${tokens * elementBytes}`,
        );
      const length = lengths.readInt32LE(4 * i);
      if (length < 0) refuse(`sequence ${first + i} has length ${length}`);
      tokens += length;
    }
  }
  return tokens;
}

/** An index for tokens that lie one document after another. */
export function indexBytes(type: "uint8" | "uint16" | "int32", documents: readonly number[]): Buffer {
  const count = documents.length;
  const index = Buffer.alloc(HEADER_BYTES + 12 * count + 8 * (count + 1));
  index.write(MAGIC, 0, "latin1");
  index.writeBigUInt64LE(1n, 9);
  index[17] = Number(Object.keys(TYPES).find((code) => TYPES[Number(code)] === type));
  index.writeBigUInt64LE(BigInt(count), 18);
  index.writeBigUInt64LE(BigInt(count + 1), 26);
  let tokens = 0;
  for (const [i, length] of documents.entries()) {
    index.writeInt32LE(length, HEADER_BYTES + 4 * i);
    index.writeBigInt64LE(BigInt(tokens * ELEMENT_BYTES[type]), HEADER_BYTES + 4 * count + 8 * i);
    tokens += length;
  }
  for (let i = 0; i <= count; i++) index.writeBigInt64LE(BigInt(i), HEADER_BYTES + 12 * count + 8 * i);
  return index;
}

function readAt(file: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, position));
}

function openOr(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read ${path}. A Megatron dataset "NAME" is NAME.bin and NAME.idx; give "NAME".`,
      { path },
      { cause },
    );
  }
}

function sizeOr(path: string): number {
  try {
    return statSync(path).size;
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read ${path}, which belongs to its .idx.`,
      { path },
      { cause },
    );
  }
}
