/**
 * The place where a notebook kernel lets values draw themselves. The kernel puts one of these on
 * `globalThis[NOTEBOOK_HOST]`; without it (plain scripts, the CLI) live drawing is silently nothing.
 */
export interface NotebookHost {
  /** Draws a new output under the running cell (or the cell that made `this` handle). */
  display(bundle: Readonly<Record<string, unknown>>): DisplayHandle;
  /** Fires when the user interrupts the kernel. */
  onInterrupt(listener: () => void): () => void;
  /** The kernel's name at the server that started it, where there is one: pages reach it by that. */
  readonly kernelId?: string | undefined;
  /** Removes what the running cell has shown; with `wait`, when its next output comes. */
  clearOutput?(wait: boolean): void;
  /** Asks the person at the front end for a line of text. */
  input?(prompt: string, secret: boolean): Promise<string>;
  /** Answers front ends that open a channel to `target`. */
  onComm?(target: string, listener: (comm: HostComm) => void): () => void;
}

/** A two-way channel between a front end and this process (a Jupyter comm). */
export interface HostComm {
  /** What the front end said on opening. */
  readonly data: unknown;
  /** Sends a message to the front end. */
  send(data: unknown): void;
  /** Hears what the front end sends. */
  onMessage(listener: (data: unknown) => void): void;
  /** Hears that the front end closed the channel. */
  onClose(listener: () => void): void;
}

/** An output that can be redrawn in place, also after its cell has ended. */
export interface DisplayHandle {
  /** Shows something else in the same place. */
  update(bundle: Readonly<Record<string, unknown>>): void;
}

export const NOTEBOOK_HOST: unique symbol = Symbol.for("galvatron.host") as never;

/** The host of this process, if it runs under our kernel. */
export function notebookHost(): NotebookHost | undefined {
  return (globalThis as { [NOTEBOOK_HOST]?: NotebookHost })[NOTEBOOK_HOST];
}
