/** Where a command writes: results to standard output, everything else to standard error. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  readonly folder: string;
  /** Runs once when the user presses Ctrl-C; the listener replaces the default, which ends the process. */
  readonly onInterrupt: (listener: () => void) => void;
}

/** One verb. @returns the process's exit code */
export type Command = (args: readonly string[], terminal: Terminal) => Promise<number>;

/** One object on the last line of standard output: what programs read. */
export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value)}\n`);
}
