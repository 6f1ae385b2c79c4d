import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AncestorStrategy } from "../../src/ancestor/ancestor-strategy.js";

const shared = process.env.GALVATRON_SHARED ?? join(__dirname, "../../../shared");

/** The folder of the ancestor's own results; tests that need it are skipped where it is absent. */
export const ORACLE: string = join(shared, "oracle");
export const hasOracle: boolean = existsSync(join(ORACLE, "cases.jsonl"));

// biome-ignore lint/suspicious/noExplicitAny: the oracle's files are read as they are
export type Loose = any;

export function oracleJson(name: string): Loose {
  return JSON.parse(readFileSync(join(ORACLE, name), "utf8"));
}

export function readInput(path: string): string {
  return readFileSync(join(ORACLE, "inputs", path), "utf8");
}

/** The cases of the ancestor's version 3.0 with their results. */
export function oracleCases(): Loose[] {
  return readFileSync(join(ORACLE, "cases.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
    .filter((one) => one.engine === "galvatron-3.0");
}

export function ofOracle(strategy: Loose): AncestorStrategy {
  return {
    stages: strategy.pp_size,
    tensor: strategy.tp_size,
    sequence: strategy.sp_size,
    context: strategy.cp_size,
    data: strategy.dp_size,
    dataParallel: strategy.dp_type,
    recompute: strategy.checkpoint ?? false,
  };
}

/** Relative difference, absolute near zero. */
export function difference(a: number, b: number): number {
  return Math.abs(a - b) / Math.max(1e-12, Math.abs(b));
}
