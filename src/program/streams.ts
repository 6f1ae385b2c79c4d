import type { Stream } from "./program.js";

/** All streams, in the order of `Stream` in native/src/program.h, which is also that of tables. */
export const STREAMS: readonly Stream[] = [
  "compute",
  "gather",
  "reduce",
  "activationsIn",
  "activationsOut",
  "gradientsIn",
  "gradientsOut",
];

const INDEX = new Map(STREAMS.map((stream, index) => [stream, index]));

export function streamIndex(stream: Stream): number {
  return INDEX.get(stream)!;
}
