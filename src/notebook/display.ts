import { GalvatronError } from "../base/errors.js";
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

/** Removes what the running cell has shown; with `wait`, once its next output comes. */
export function clearOutput(wait: boolean = false): void {
  notebookHost()?.clearOutput?.(wait);
}

/**
 * Asks the person at the notebook for a line of text.
 * @param options `secret` hides what is typed
 * @throws GalvatronError KERNEL_FAILED outside a notebook
 */
export async function input(prompt: string, options: { readonly secret?: boolean } = {}): Promise<string> {
  const ask = notebookHost()?.input;
  if (!ask) {
    throw new GalvatronError(
      "KERNEL_FAILED",
      "input() asks the person at a notebook, and this is none: pass the value in the code instead.",
    );
  }
  return await ask(prompt, options.secret ?? false);
}
