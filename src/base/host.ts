/**
 * The place where a notebook kernel lets values draw themselves. The kernel puts one of these on
 * `globalThis[NOTEBOOK_HOST]`; without it (plain scripts, the CLI) live drawing is silently nothing.
 */
export interface NotebookHost {
  /** Draws a new output under the running cell (or the cell that made `this` handle). */
  display(bundle: Readonly<Record<string, unknown>>): DisplayHandle;
  /** Fires when the user interrupts the kernel. */
  onInterrupt(listener: () => void): () => void;
}

/** An output that can be redrawn in place, also after its cell has ended. */
export interface DisplayHandle {
  update(bundle: Readonly<Record<string, unknown>>): void;
}

export const NOTEBOOK_HOST: unique symbol = Symbol.for("galvatron.host") as never;

/** The host of this process, if it runs under our kernel. */
export function notebookHost(): NotebookHost | undefined {
  return (globalThis as { [NOTEBOOK_HOST]?: NotebookHost })[NOTEBOOK_HOST];
}
