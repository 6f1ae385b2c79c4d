const LINK: unique symbol = Symbol.for("galvatron.link") as never;

type Accessors = Readonly<Record<string, readonly [read: () => unknown, write: (value: unknown) => void]>>;

/**
 * Makes a variable one and the same in every cell. tslab copies a cell's variables to an object that later cells
 * read and write; functions of the cell itself would go on with the original. So once a cell has run, its variables
 * are reached through accessors instead, which lie on the prototype of that object.
 */
export class SharedVariables {
  readonly #locals: Record<string, unknown>;
  readonly #accessors: Record<string, unknown> = {};

  /** @param locals the object through which cells share values */
  constructor(locals: Record<string, unknown>) {
    this.#locals = locals;
    Object.setPrototypeOf(locals, this.#accessors);
    (globalThis as { [LINK]?: (variables: Accessors) => void })[LINK] = (variables) => this.#link(variables);
  }

  /** Values by name, as later cells see them. */
  values(): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const name in this.#locals) values[name] = this.#locals[name];
    return values;
  }

  /** Makes room for a cell that declares these names again. */
  release(names: Iterable<string>): void {
    for (const name of names) delete this.#accessors[name];
  }

  /** JavaScript that, at the end of a cell, links the variables which the cell declared. */
  linkCode(names: readonly string[]): string {
    if (names.length === 0) return "";
    const entries = names.map((name) => `${name}: [() => ${name}, (value) => { ${name} = value; }]`);
    return `\n;globalThis[Symbol.for("galvatron.link")]({ ${entries.join(", ")} });`;
  }

  #link(variables: Accessors): void {
    for (const [name, [get, set]] of Object.entries(variables)) {
      delete this.#locals[name];
      Object.defineProperty(this.#accessors, name, { get, set, enumerable: true, configurable: true });
    }
  }
}
