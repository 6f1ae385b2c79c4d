import { z } from "zod";
import { GalvatronError } from "../../base/errors.js";

/** Bytes of one element, by the format's names of element types. */
const SAFETENSORS_BYTES = {
  F64: 8,
  F32: 4,
  BF16: 2,
  F16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

type SafetensorsDtype = keyof typeof SAFETENSORS_BYTES;

/** A tensor of a file: its elements lie row-major, little-endian, from byte `start` of the file on. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly start: number;
}

export interface SafetensorsHeader {
  /** In the order in which they lie in the file. */
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Length of the whole file. */
  readonly fileBytes: number;
}

/** Bytes at a file's begin that give the length of the header behind them. */
export const PREFIX_BYTES = 8;
/** What readers of the format accept at most. */
const MAX_HEADER_BYTES = 100_000_000;

const size = z.int().nonnegative();
const headerJson = z.record(
  z.string(),
  z.union([
    z.strictObject({
      dtype: z.enum(Object.keys(SAFETENSORS_BYTES) as [SafetensorsDtype, ...SafetensorsDtype[]]),
      shape: z.array(size),
      data_offsets: z.tuple([size, size]),
    }),
    z.record(z.string(), z.string()),
  ]),
);

function invalid(path: string, reason: string): GalvatronError {
  return new GalvatronError("CHECKPOINT_INVALID", `${path} is no whole safetensors file: ${reason}.`, {
    path,
  });
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Length of the header, as the first {@link PREFIX_BYTES} bytes give it. */
export function headerBytes(prefix: Uint8Array, path: string): number {
  if (prefix.byteLength < PREFIX_BYTES) throw invalid(path, `it has ${prefix.byteLength} bytes`);
  const bytes = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (bytes > MAX_HEADER_BYTES) throw invalid(path, `its header claims to have ${bytes} bytes`);
  return bytes;
}

/**
 * Reads the header of a file (the format: https://github.com/huggingface/safetensors, README). Tensors must lie one
 * behind the other, without gap or overlap, and fill the file to its end.
 *
 * @param header the bytes behind the prefix, {@link headerBytes} of them
 * @param fileBytes length of the file on disk
 * @throws GalvatronError CHECKPOINT_INVALID that names the file and what is wrong with it
 */
export function parseSafetensorsHeader(
  header: Uint8Array,
  fileBytes: number,
  path: string,
): SafetensorsHeader {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header));
  } catch {
    throw invalid(path, "its header is no JSON");
  }
  const parsed = headerJson.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw invalid(path, `header field ${issue.path.join(".")}: ${issue.message}`);
  }
  const dataStart = PREFIX_BYTES + header.byteLength;
  const metadata: Record<string, string> = {};
  const entries: (SafetensorsEntry & { readonly end: number })[] = [];
  for (const [name, field] of Object.entries(parsed.data)) {
    if (name === "__metadata__") {
      Object.assign(metadata, field);
      continue;
    }
    const { dtype, shape, data_offsets } = field as {
      dtype: SafetensorsDtype;
      shape: number[];
      data_offsets: [number, number];
    };
    if (dtype === undefined) throw invalid(path, `tensor ${name} has no element type`);
    const [from, to] = data_offsets;
    if (to - from !== elementsOf(shape) * SAFETENSORS_BYTES[dtype])
      throw invalid(path, `tensor ${name}, ${dtype} [${shape}], has ${to - from} bytes`);
    entries.push({ name, dtype, shape, start: dataStart + from, end: dataStart + to });
  }
  entries.sort((a, b) => a.start - b.start || a.end - b.end);
  let at = dataStart;
  for (const { name, start, end } of entries) {
    if (start !== at) throw invalid(path, `tensor ${name} starts at byte ${start}, expected ${at}`);
    at = end;
  }
  if (at !== fileBytes) throw invalid(path, `its header describes ${at} bytes, the file has ${fileBytes}`);
  return {
    entries: entries.map(({ name, dtype, shape, start }) => ({ name, dtype, shape, start })),
    metadata,
    fileBytes,
  };
}

/** Prefix and header of a file of these tensors, in this order, and where each will lie. */
export function safetensorsHeader(
  tensors: readonly Omit<SafetensorsEntry, "start">[],
  metadata: Readonly<Record<string, string>> = {},
): { readonly bytes: Uint8Array; readonly header: SafetensorsHeader } {
  let at = 0;
  const fields: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  const offsets: number[] = [];
  for (const { name, dtype, shape } of tensors) {
    const end = at + elementsOf(shape) * SAFETENSORS_BYTES[dtype];
    fields[name] = { dtype, shape, data_offsets: [at, end] };
    offsets.push(at);
    at = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(fields));
  // Spaces at the end of the header let every tensor start at a multiple of eight bytes.
  const length = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, PREFIX_BYTES);
  return {
    bytes,
    header: {
      entries: tensors.map((tensor, i) => ({ ...tensor, start: bytes.byteLength + offsets[i]! })),
      metadata,
      fileBytes: bytes.byteLength + at,
    },
  };
}
