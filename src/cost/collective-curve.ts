import { GalvatronError } from "../base/errors.js";
import type { Collective, HardwareProfile } from "../cluster/hardware-profile.js";
import type { GroupShape } from "./group-shape.js";

/** The measured samples of one collective over one shape of group, by message size. */
export interface CollectiveCurve extends GroupShape {
  readonly collective: Collective;
  /** Ascending. */
  readonly sizes: readonly number[];
  readonly timesMs: readonly number[];
}

/** All curves of a machine. */
export interface CollectiveCurves {
  readonly curves: readonly CollectiveCurve[];
}

/** Sorts a profile's samples into curves. */
export function collectiveCurves(hardware: HardwareProfile): CollectiveCurves {
  const groups = new Map<string, { readonly shape: CollectiveCurve; readonly points: [number, number][] }>();
  for (const sample of hardware.collectives) {
    const { collective, ranks, stride, nodes, concurrentGroups } = sample;
    const key = `${collective} ${ranks} ${stride} ${nodes} ${concurrentGroups}`;
    let group = groups.get(key);
    if (!group) {
      group = {
        shape: { collective, ranks, stride, nodes, concurrentGroups, sizes: [], timesMs: [] },
        points: [],
      };
      groups.set(key, group);
    }
    group.points.push([sample.sizeBytes, sample.timeMs]);
  }
  const curves = [...groups.values()].map(({ shape, points }) => {
    points.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const distinct = points.filter((point, index) => index === 0 || point[0] !== points[index - 1]![0]);
    return { ...shape, sizes: distinct.map((p) => p[0]), timesMs: distinct.map((p) => p[1]) };
  });
  return { curves };
}

/** Rounds of messages that a ring (or, for a broadcast, a tree) of `ranks` takes: what latency multiplies. */
export function ringRounds(collective: Collective, ranks: number): number {
  switch (collective) {
    case "allReduce":
      return 2 * (ranks - 1);
    case "broadcast":
      return Math.ceil(Math.log2(ranks));
    case "sendReceive":
      return 1;
    default:
      return ranks - 1;
  }
}

/** Share of the tensor that passes each rank's link in a bandwidth-optimal algorithm. Thakur et al. 2005. */
export function ringVolume(collective: Collective, ranks: number): number {
  switch (collective) {
    case "allReduce":
      return (2 * (ranks - 1)) / ranks;
    case "broadcast":
    case "sendReceive":
      return 1;
    default:
      return (ranks - 1) / ranks;
  }
}

/** Collectives whose curve may stand in for one that was not measured: an all-reduce is a scatter and a gather. */
const STAND_INS: Readonly<Record<Collective, readonly Collective[]>> = {
  allReduce: ["reduceScatter", "allGather"],
  allGather: ["reduceScatter", "allReduce", "allToAll"],
  reduceScatter: ["allGather", "allReduce", "allToAll"],
  allToAll: ["allGather", "reduceScatter", "allReduce"],
  broadcast: ["allGather", "allReduce"],
  sendReceive: ["allGather", "broadcast", "allReduce"],
};

function distance(curve: CollectiveCurve, shape: GroupShape): number {
  const ratio = (a: number, b: number): number => Math.abs(Math.log2(a / b));
  const across = curve.nodes > 1 === shape.nodes > 1 ? 0 : 1000;
  return (
    across +
    8 * ratio(curve.nodes, shape.nodes) +
    4 * ratio(curve.ranks, shape.ranks) +
    2 * ratio(curve.stride, shape.stride) +
    ratio(curve.concurrentGroups, shape.concurrentGroups)
  );
}

/**
 * The measured curve that stands nearest to a group: of the same collective if there is any, inside or across
 * nodes alike before anything else, then by nodes, ranks, stride and concurrency.
 *
 * @throws PROFILE_INCOMPLETE when nothing was measured that could stand in.
 */
export function nearestCurve(
  curves: CollectiveCurves,
  collective: Collective,
  shape: GroupShape,
): CollectiveCurve {
  for (const name of [collective, ...STAND_INS[collective]]) {
    let best: CollectiveCurve | undefined;
    let bestDistance = Number.POSITIVE_INFINITY;
    for (const curve of curves.curves) {
      if (curve.collective !== name) continue;
      const gap = distance(curve, shape);
      if (gap < bestDistance) {
        best = curve;
        bestDistance = gap;
      }
    }
    if (best) return best;
  }
  throw new GalvatronError(
    "PROFILE_INCOMPLETE",
    `Expected the hardware profile to hold samples of ${collective} (or a collective that can stand in for it), but it has none. Profile this machine with at least 2 ranks.`,
    { collective, ranks: shape.ranks },
  );
}
