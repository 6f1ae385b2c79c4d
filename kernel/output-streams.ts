/** How long text may wait so that many small writes leave as one message. */
const GATHER_MS = 50;
const GATHER_CHARACTERS = 65_536;

export type StreamName = "stdout" | "stderr";

/**
 * Gathers what a cell prints into few messages. A cell's first write leaves at once, however soon it follows another cell's
 * output, and the rest at most every 50 ms, even while a cell blocks the thread and no timer can fire.
 */
export class OutputStreams<Parent> {
  readonly #publish: (name: StreamName, text: string, parent: Parent) => void;
  #waiting:
    | { readonly name: StreamName; readonly parent: Parent; readonly texts: string[]; characters: number }
    | undefined;
  #lastFlushMs = 0;
  #lastParent: Parent | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(publish: (name: StreamName, text: string, parent: Parent) => void) {
    this.#publish = publish;
  }

  write(name: StreamName, text: string, parent: Parent): void {
    if (text === "") return;
    if (this.#waiting && (this.#waiting.name !== name || this.#waiting.parent !== parent)) this.flush();
    this.#waiting ??= { name, parent, texts: [], characters: 0 };
    this.#waiting.texts.push(text);
    this.#waiting.characters += text.length;
    const due = parent !== this.#lastParent || performance.now() - this.#lastFlushMs >= GATHER_MS;
    if (due || this.#waiting.characters >= GATHER_CHARACTERS) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    if (!waiting) return;
    this.#waiting = undefined;
    this.#lastFlushMs = performance.now();
    this.#lastParent = waiting.parent;
    this.#publish(waiting.name, waiting.texts.join(""), waiting.parent);
  }
}
