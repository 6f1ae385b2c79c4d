import { inFlight } from "../cost/pipeline-time.js";
import { roundTrips } from "./schedule-bound.js";
import type { ShapeTable } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";
import type { Floors } from "./stage-floor.js";
import { usedLayouts } from "./stand-ins.js";

/** Bounds on parts of a division, from the floors of its stages: entry `stage * (layers + 1) + start`. */
export interface RelaxedDivision {
  /** No step is shorter. */
  readonly boundMs: number;
  /** Of the stages from `stage` on, which hold the layers from `start` on: one micro-batch through and back. */
  readonly roundMs: Float64Array;
  /** … and all micro-batches: from the first one's entry to the last one's return. */
  readonly throughMs: Float64Array;
  /** Of the stages before `stage`, which hold the layers before `start`: one micro-batch through and back. */
  readonly beforeMs: Float64Array;
  /** … and the least step time that they alone allow. */
  readonly fullestMs: Float64Array;
  /** … and one micro-batch through and back, while the slowest of them works off all the others. */
  readonly busyMs: Float64Array;
  /** Least time over the border in front of a layer, both ways, by that layer. */
  readonly linkMs: Float64Array;
}

const leastLinks = new WeakMap<ShapeTable, ReadonlyMap<string, number>>();

/** Least time over a border in front of each layer: an activation there and its gradient back. */
function links({ shape, outer, kinds }: Problem): Float64Array {
  if (outer.stages === 1) return new Float64Array(kinds.length + 1);
  const byKind = leastLinks.get(shape) ?? leastByKind(shape);
  leastLinks.set(shape, byKind);
  return Float64Array.from([...kinds.map((kind) => byKind.get(kind)!), 0]);
}

function leastByKind(shape: ShapeTable): ReadonlyMap<string, number> {
  const used = usedLayouts(shape);
  return new Map(
    [...shape.choices.keys()].map((kind) => {
      const table = shape.transfers.get(kind)!;
      let least = Number.POSITIVE_INFINITY;
      for (const a of used) for (const b of used) least = Math.min(least, table[a]![b]! + table[b]![a]!);
      return [kind, least] as const;
    }),
  );
}

/**
 * The division of layers when every stage costs only its floor: a bound on the step, and bounds on its parts that
 * tell which lengths a stage may have and how slow it may be. The paths are those of the schedule bound.
 */
export function relaxDivision(problem: Problem, floors: Floors): RelaxedDivision {
  const { shape, outer, kinds, even } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const layers = kinds.length;
  const width = layers + 1;
  const filled = (): Float64Array => new Float64Array((stages + 1) * width).fill(Number.POSITIVE_INFINITY);
  const linkMs = links(problem);
  const roundMs = filled();
  const throughMs = filled();
  const endMs = filled();
  const beforeMs = filled();
  const fullestMs = filled();
  const busyMs = filled();
  roundMs[stages * width + layers] = 0;
  throughMs[stages * width + layers] = 0;
  endMs[stages * width + layers] = 0;
  const first = even || 1;
  for (let stage = stages - 1; stage >= 0; stage--) {
    const most = stage === 0 ? 0 : layers - (stages - stage);
    const w = inFlight(schedule, stage, stages, m);
    for (let start = stage; start <= most; start++) {
      const here = stage * width + start;
      const longest = even || layers - start - (stages - 1 - stage);
      for (let count = stage === stages - 1 ? layers - start : first; count <= longest; count++) {
        const next = (stage + 1) * width + start + count;
        if (roundMs[next] === Number.POSITIVE_INFINITY) continue;
        const { forwardMs: f, backwardMs: b, passMs: pass, ledMs: led, ...own } = floors(stage, start, count);
        const { rankMs, criticalMs, ledReducedMs, tripsReducedMs, criticalReducedMs } = own;
        if (pass === Number.POSITIVE_INFINITY || rankMs === Number.POSITIVE_INFINITY) continue;
        const link = linkMs[start + count]!;
        const below = link + roundMs[next]!;
        const round = led + below;
        let through: number;
        if (schedule === "gpipe") {
          // The slowest machine may be another one forward than backward, so both get their part of the pass.
          through = Math.max(round + (m - 1) * pass, led + link + throughMs[next]!, criticalMs + below);
        } else {
          const slower = Math.max(b, f);
          through = Math.max(
            m * pass,
            led + link + throughMs[next]!,
            criticalMs + below,
            round + (m - w) * pass + (w - 1) * slower,
            roundTrips(m, w, round, pass),
          );
        }
        roundMs[here] = Math.min(roundMs[here]!, round);
        throughMs[here] = Math.min(throughMs[here]!, through);
        const reduced = Math.max(
          criticalReducedMs + below,
          ledReducedMs + link + throughMs[next]!,
          m > w ? tripsReducedMs + 2 * below : 0,
        );
        endMs[here] = Math.min(endMs[here]!, Math.max(through, rankMs, reduced, f + endMs[next]!));
      }
    }
  }
  beforeMs[0] = 0;
  fullestMs[0] = 0;
  busyMs[0] = 0;
  for (let stage = 0; stage < stages - 1; stage++) {
    for (let start = stage; start <= (stage === 0 ? 0 : layers); start++) {
      const here = stage * width + start;
      if (beforeMs[here] === Number.POSITIVE_INFINITY) continue;
      const longest = even || layers - start - (stages - 1 - stage);
      for (let count = first; count <= longest; count++) {
        const next = (stage + 1) * width + start + count;
        const { passMs: pass, ledMs: led, rankMs, criticalMs } = floors(stage, start, count);
        if (pass === Number.POSITIVE_INFINITY || rankMs === Number.POSITIVE_INFINITY) continue;
        const link = linkMs[start + count]!;
        const before = beforeMs[here]!;
        beforeMs[next] = Math.min(beforeMs[next]!, before + led + link);
        fullestMs[next] = Math.min(fullestMs[next]!, Math.max(fullestMs[here]!, rankMs, before + m * pass));
        busyMs[next] = Math.min(busyMs[next]!, Math.max(busyMs[here]! + led, before + criticalMs) + link);
      }
    }
  }
  return { boundMs: shape.normMs + endMs[0]!, roundMs, throughMs, beforeMs, fullestMs, busyMs, linkMs };
}
