/**
 * Tells the sockets' thread when the main thread is inside the compiler, where ending its JavaScript by force would
 * leave half-made state behind. Memory that both threads see: a message would come too late.
 */
export class Shield {
  readonly #depth: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#depth = new Int32Array(memory);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  }

  get isUp(): boolean {
    return Atomics.load(this.#depth, 0) > 0;
  }

  /** Does work that must not be ended half-way. */
  protect<Result>(work: () => Result): Result {
    Atomics.add(this.#depth, 0, 1);
    try {
      return work();
    } finally {
      Atomics.sub(this.#depth, 0, 1);
    }
  }
}
