import type { Strategy } from "./strategy.js";

/**
 * A strategy in short: "tp2·dp4·zero3·recompute", "sp2·strided" (sequence split), "single" (one rank, nothing special).
 * Degrees of 1 and defaults are left out.
 */
export function strategyText(strategy: Strategy): string {
  const parts: string[] = [];
  if (strategy.tensorDegree > 1) {
    parts.push(`${strategy.tensorSplit === "sequence" ? "sp" : "tp"}${strategy.tensorDegree}`);
  }
  if (strategy.dataDegree > 1) parts.push(`dp${strategy.dataDegree}`);
  if (parts.length === 0) parts.push("single");
  if (strategy.dataParallel !== "ddp") parts.push(strategy.dataParallel);
  if (strategy.placement === "strided") parts.push("strided");
  if (strategy.recompute) parts.push("recompute");
  return parts.join("·");
}
