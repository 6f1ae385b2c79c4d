import { type ArenaLayout, type ArenaRequest, isState, planArena } from "./plan-arena.js";

/** Layouts by request: the ranks of a stage mostly ask for the same buffers, and placing them is the dearest part. */
export class ArenaCache {
  readonly #known = new Map<string, { readonly request: Float64Array; readonly layout: ArenaLayout }[]>();

  plan(buffers: readonly ArenaRequest[]): ArenaLayout {
    const request = new Float64Array(4 * buffers.length);
    let sum = 0;
    for (const [index, { sizeBytes, persistent, category, first, last }] of buffers.entries()) {
      request[4 * index] = sizeBytes;
      request[4 * index + 1] = Number(persistent) + Number(isState({ persistent, category }));
      request[4 * index + 2] = first;
      request[4 * index + 3] = last;
      sum = (sum + sizeBytes * (first + 3) + last * 7919) % 2 ** 40;
    }
    const key = `${buffers.length} ${sum}`;
    const alike = this.#known.get(key) ?? [];
    const found = alike.find((one) => one.request.every((value, index) => value === request[index]));
    if (found !== undefined) return found.layout;
    const layout = planArena(buffers);
    this.#known.set(key, [...alike, { request, layout }]);
    return layout;
  }
}
