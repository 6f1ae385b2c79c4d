import type { PlanDocument } from "../model/plan-json.js";
import type { SearchInputs } from "./search.js";
import type { SearchReport } from "./search-report.js";

/** JSON with sorted keys: equal contents give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : part,
  );
}

/** 64-bit FNV-1a of the canonical JSON, in hex: tells contents apart, guards against nothing. Fowler, Noll & Vo 1991. */
export function contentHash(value: unknown): string {
  const text = canonicalJson(value);
  // The 64-bit product in four 16-bit digits: the prime is 2^40 + 0x1b3.
  let a = 0x2325;
  let b = 0x8422;
  let c = 0x9ce4;
  let d = 0xcbf2;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    for (const byte of code < 256 ? [code] : [code & 255, code >> 8]) {
      a ^= byte;
      const p = a * 0x1b3;
      const q = b * 0x1b3 + (p >>> 16);
      const r = c * 0x1b3 + (q >>> 16) + ((a << 8) & 0xffff_ffff);
      const s = d * 0x1b3 + Math.floor(r / 0x10000) + (b << 8);
      a = p & 0xffff;
      b = q & 0xffff;
      c = r & 0xffff;
      d = s & 0xffff;
    }
  }
  return [d, c, b, a].map((digit) => digit.toString(16).padStart(4, "0")).join("");
}

/** The winner of a search as a plan file: with its prediction and the hashes of what it was made from. */
export function planDocument(inputs: SearchInputs, report: SearchReport, version: string): PlanDocument {
  const { stepMs, samplesPerSecond, stages } = report.prediction;
  return {
    model: inputs.model,
    plan: report.plan,
    prediction: {
      stepMs,
      samplesPerSecond,
      lowerBoundMs: report.lowerBoundMs,
      stages: stages.map(({ time, memory }) => ({ time: { ...time }, memory: { ...memory } })),
    },
    provenance: {
      model: contentHash(inputs.model),
      modelProfile: contentHash(inputs.modelProfile),
      hardware: contentHash(inputs.hardware),
      version,
    },
  };
}
