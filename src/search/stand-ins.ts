import type { StandIn } from "./label.js";
import type { ShapeTable } from "./shape-table.js";

const standInCache = new WeakMap<ShapeTable, Map<string, StandIn>>();

/** Layouts that some strategy of the shape still has. */
export function usedLayouts(shape: ShapeTable): number[] {
  const used = new Set(shape.vocabulary.map(({ layout }) => layout));
  for (const list of shape.choices.values()) for (const { layout } of list) used.add(layout);
  return [...used].sort((a, b) => a - b);
}

/** What stands in front of a stage: the embedding, another stage that sends in the first layout, or nobody cares. */
export type Front = "embedding" | "stage" | "free";

/**
 * Stand-in costs of labels in front of a layer of `nextKind`. In a pipeline the first layout is what the stage before
 * sends, so only one that is sent as fast from every layout stands in for another.
 */
export function standIns(
  shape: ShapeTable,
  front: Front,
  nextKind: string,
  firstKind: string = nextKind,
): StandIn {
  let cache = standInCache.get(shape);
  if (!cache) {
    cache = new Map();
    standInCache.set(shape, cache);
  }
  const key = `${front} ${firstKind} ${nextKind}`;
  let result = cache.get(key);
  if (!result) {
    const numbers = shape.layouts.map((_, index) => index);
    const used = usedLayouts(shape);
    const last = shape.relayouts.get(nextKind)!;
    const first = shape.relayouts.get(firstKind)!;
    const sends = shape.transfers.get(firstKind)!;
    const sendsNoSlower = (a: number, b: number): boolean =>
      used.every((from) => sends[from]![a]! <= sends[from]![b]! && sends[a]![from]! <= sends[b]![from]!);
    const most = (gaps: number[]): number => gaps.reduce((a, b) => Math.max(a, b), 0);
    result = {
      first: numbers.map((a) =>
        numbers.map((b) => {
          if (a === b || front === "free") return 0;
          if (front === "stage") return sendsNoSlower(a, b) ? 0 : Number.POSITIVE_INFINITY;
          return most(shape.vocabulary.map(({ layout }) => first[layout]![a]! - first[layout]![b]!));
        }),
      ),
      last: numbers.map((a) => numbers.map((b) => most(used.map((to) => last[a]![to]! - last[b]![to]!)))),
    };
    cache.set(key, result);
  }
  return result;
}
