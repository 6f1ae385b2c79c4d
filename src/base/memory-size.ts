import { GalvatronError } from "./errors.js";
import { BYTES_PER_GB, BYTES_PER_MB } from "./units.js";

/** Bytes as a number, or as text: "2GB" (2 × 2^30), "512MB" (512 × 2^20), "0.5 GB". */
export type MemorySize = number | string;

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1024,
  mb: BYTES_PER_MB,
  gb: BYTES_PER_GB,
  tb: 1024 * BYTES_PER_GB,
};

/** @throws GalvatronError ARGUMENT_INVALID */
export function memoryBytes(size: MemorySize): number {
  const match = typeof size === "string" ? /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)\s*$/i.exec(size) : null;
  const bytes =
    typeof size === "number"
      ? size
      : Number(match?.[1]) * (UNITS[match?.[2]?.toLowerCase().replace("i", "") ?? ""] ?? Number.NaN);
  if (!Number.isFinite(bytes) || bytes <= 0)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected a memory size such as "2GB" or "512MB" (or bytes as a number), got ${JSON.stringify(size)}.`,
      { size: String(size) },
    );
  return Math.floor(bytes);
}

/** 2147483648 → "2 GB", 123456789 → "118 MB": three digits, for people. */
export function memoryText(bytes: number): string {
  const [value, unit] = inUnit(bytes);
  return `${Number(value.toPrecision(3))} ${unit}`;
}

/** Three digits as well, but never less than `bytes`: what is needed at least can be given as it is told. */
export function neededText(bytes: number): string {
  const [value, unit] = inUnit(bytes);
  const digit = 10 ** (Math.floor(Math.log10(value)) - 2);
  return `${Number((Math.ceil(value / digit - 1e-9) * digit).toPrecision(3))} ${unit}`;
}

function inUnit(bytes: number): readonly [value: number, unit: string] {
  if (bytes >= BYTES_PER_GB) return [bytes / BYTES_PER_GB, "GB"];
  return bytes >= BYTES_PER_MB ? [bytes / BYTES_PER_MB, "MB"] : [bytes / 1024, "KB"];
}
