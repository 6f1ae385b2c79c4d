import { type DisplayHandle, notebookHost } from "../base/host.js";
import { presentPlain } from "./present.js";

/** A picture on the page that can be drawn again in place, while its cell runs and after it. */
export interface LiveDisplay {
  /** Draws `value` where the first one stands. */
  update(value: unknown): void;
}

/**
 * Shows a value under the running cell: a figure, a table, records, anything with its own display, or text.
 * Outside a notebook it does nothing.
 */
export function display(value: unknown): LiveDisplay {
  const handle: DisplayHandle | undefined = notebookHost()?.display(presentPlain(value));
  return {
    update(next: unknown): void {
      handle?.update(presentPlain(next));
    },
  };
}
