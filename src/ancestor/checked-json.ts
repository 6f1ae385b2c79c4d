import { z } from "zod";
import { type ErrorCode, GalvatronError } from "../base/errors.js";

/** Largest number that any profile may hold, and the least beside zero: beyond them sums and quotients overflow. */
const HUGE: number = 1e12;
const TINY: number = 1e-12;

/** A time, a size or a bandwidth that must be there. */
export const positive: z.ZodNumber = z.number().min(TINY).max(HUGE);
/** A time or a size that may be nothing. */
export const amount: z.ZodNumber = z.number().min(0).max(HUGE);
/** A count: whole, at least 1. */
export const count: z.ZodNumber = z.number().int().min(1).max(1e9);

/**
 * Parses JSON text. `source` names the file for people.
 * @throws GalvatronError with `code`, and the path "(whole file)"
 */
export function parseJson(text: string, source: string, code: ErrorCode = "PROFILE_INVALID"): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new GalvatronError(
      code,
      `${source}: expected JSON, but it cannot be parsed. Is the file cut short?`,
      { source, path: "(whole file)" },
      { cause },
    );
  }
}

/**
 * Checks a value against a schema and tells the path of the first wrong field.
 * @throws GalvatronError with `code`
 */
export function check<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  source: string,
  at: readonly (string | number)[] = [],
  code: ErrorCode = "PROFILE_INVALID",
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw refusal(
    source,
    [...at, ...issue.path.map((key) => (typeof key === "symbol" ? String(key) : key))],
    issue.message,
    code,
  );
}

/** The error for a field that is there but cannot be used, or is missing. */
export function refusal(
  source: string,
  path: readonly (string | number)[],
  message: string,
  code: ErrorCode = "PROFILE_INVALID",
): GalvatronError {
  const where = path.length === 0 ? "(whole file)" : path.map((key) => (key === "" ? '""' : key)).join(".");
  return new GalvatronError(code, `${source}: ${where}: ${message}`, { source, path: where });
}

/** The top level of every profile: an object. */
export function checkRecord(value: unknown, source: string): Readonly<Record<string, unknown>> {
  return check(z.record(z.string(), z.unknown()), value, source);
}
