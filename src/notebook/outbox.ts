/** A socket that takes one message at a time. */
export interface FrameSink {
  readonly closed: boolean;
  send(frames: Uint8Array[]): Promise<void>;
}

/**
 * Sends messages in the order given and loses none. ZeroMQ's JavaScript sockets allow one send in flight and
 * reject after some 500 sends in one go, so everything waits here for its turn.
 */
export class Outbox {
  readonly #sink: FrameSink;
  readonly #waiting: Uint8Array[][] = [];
  #sending: Promise<void> | undefined;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  send(frames: Uint8Array[]): void {
    this.#waiting.push(frames);
    this.#sending ??= this.#sendAll();
  }

  /** Resolves when everything given so far has left. */
  async drained(): Promise<void> {
    await this.#sending;
  }

  async #sendAll(): Promise<void> {
    try {
      for (let frames = this.#waiting.shift(); frames && !this.#sink.closed; frames = this.#waiting.shift()) {
        await this.#sink.send(frames);
      }
    } finally {
      this.#sending = undefined;
    }
  }
}
