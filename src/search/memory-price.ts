/** One of several alternatives of a part: what it takes of memory and of time. */
export interface Alternative {
  readonly bytes: number;
  readonly ms: number;
}

/** `count` parts that each need one of the same alternatives. */
export interface Part {
  readonly count: number;
  readonly alternatives: readonly Alternative[];
}

/** The best price on memory, and what no choice within the budget can beat. */
export interface MemoryPrice {
  /** Infinite where even the leanest choice does not fit. */
  readonly boundMs: number;
  readonly msPerByte: number;
}

interface Total {
  readonly bytes: number;
  readonly ms: number;
}

function cheapest(parts: readonly Part[], msPerByte: number, preferLean: boolean): Total {
  let bytes = 0;
  let ms = 0;
  for (const { count, alternatives } of parts) {
    let best: Alternative | undefined;
    let bestCost = Number.POSITIVE_INFINITY;
    for (const one of alternatives) {
      const cost = one.ms + msPerByte * one.bytes;
      if (cost > bestCost) continue;
      if (cost === bestCost && best && one.bytes >= best.bytes === preferLean) continue;
      best = one;
      bestCost = cost;
    }
    if (!best) return { bytes: Number.POSITIVE_INFINITY, ms: Number.POSITIVE_INFINITY };
    bytes += count * best.bytes;
    ms += count * best.ms;
  }
  return { bytes, ms };
}

function leanest(parts: readonly Part[]): Total {
  let bytes = 0;
  let ms = 0;
  for (const { count, alternatives } of parts) {
    let best: Alternative | undefined;
    for (const one of alternatives)
      if (!best || one.bytes < best.bytes || (one.bytes === best.bytes && one.ms < best.ms)) best = one;
    if (!best) return { bytes: Number.POSITIVE_INFINITY, ms: Number.POSITIVE_INFINITY };
    bytes += count * best.bytes;
    ms += count * best.ms;
  }
  return { bytes, ms };
}

const ROUNDS = 64;

/**
 * Lagrangian bound of choosing one alternative for every part within a budget of bytes: the best price per byte by
 * the line search of Handler & Zang (Networks 10, 1980). min Σ ms subject to Σ bytes ≤ B is at least
 * Σ min(ms + λ · bytes) − λ · B for every λ ≥ 0.
 */
export function memoryPrice(parts: readonly Part[], budgetBytes: number): MemoryPrice {
  let over = cheapest(parts, 0, true);
  if (over.bytes <= budgetBytes) return { boundMs: over.ms, msPerByte: 0 };
  let under = leanest(parts);
  if (!(under.bytes <= budgetBytes)) return { boundMs: Number.POSITIVE_INFINITY, msPerByte: 0 };
  let msPerByte = 0;
  for (let round = 0; round < ROUNDS; round++) {
    msPerByte = (under.ms - over.ms) / (over.bytes - under.bytes);
    const at = cheapest(parts, msPerByte, true);
    const value = at.ms + msPerByte * at.bytes;
    if (value >= (over.ms + msPerByte * over.bytes) * (1 - 1e-12)) break;
    if (at.bytes > budgetBytes) over = at;
    else under = at;
  }
  const final = cheapest(parts, msPerByte, true);
  return { boundMs: final.ms + msPerByte * (final.bytes - budgetBytes), msPerByte };
}

/** The alternatives that are best at some price on memory: the lower left hull, leanest first. Bounds stay the same. */
export function priceHull(alternatives: readonly Alternative[]): Alternative[] {
  const sorted = [...alternatives].sort((a, b) => a.bytes - b.bytes || a.ms - b.ms);
  const hull: Alternative[] = [];
  for (const one of sorted) {
    const last = hull.at(-1);
    if (last && one.ms >= last.ms) continue;
    while (hull.length >= 2) {
      const b = hull[hull.length - 1]!;
      const a = hull[hull.length - 2]!;
      if ((b.ms - a.ms) * (one.bytes - a.bytes) < (one.ms - a.ms) * (b.bytes - a.bytes)) break;
      hull.pop();
    }
    hull.push(one);
  }
  return hull;
}
