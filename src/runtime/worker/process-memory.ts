import { readFileSync } from "node:fs";
import type { ProcessMemory } from "../wire.js";

/** What the operating system counts for this process: resident, peak resident, and shared of the resident. */
export function processMemory(): ProcessMemory {
  let status: string;
  try {
    status = readFileSync("/proc/self/status", "latin1");
  } catch {
    const residentBytes = process.memoryUsage().rss;
    return { residentBytes, peakBytes: process.resourceUsage().maxRSS * 1024, sharedBytes: 0 };
  }
  return {
    residentBytes: field(status, "VmRSS"),
    peakBytes: field(status, "VmHWM"),
    sharedBytes: field(status, "RssShmem"),
  };
}

function field(status: string, name: string): number {
  const match = new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(status);
  return match ? Number(match[1]) * 1024 : 0;
}
