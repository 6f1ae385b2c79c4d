import type { JupyterContent, JupyterMessage } from "../src/notebook/jupyter-wire.js";
import type { CellHistory } from "./cell-history.js";
import type { CellRunner } from "./cell-runner.js";

/** What execute_request holds. */
export interface ExecuteContent {
  readonly code: string;
  readonly silent?: boolean;
  readonly store_history?: boolean;
  readonly stop_on_error?: boolean;
  readonly allow_stdin?: boolean;
  readonly user_expressions?: Readonly<Record<string, string>>;
}

/** The way from a cell to its front end. */
export interface CellOutput {
  /** Everything published from now on belongs to this request. */
  begin(request: JupyterMessage): void;
  publish(type: string, content: JupyterContent): void;
  reply(request: JupyterMessage, content: JupyterContent): void;
}

/** A request that was sent together with the one before may take this long to come through. */
const ON_ITS_WAY_MS = 10;

/** Runs execute_requests in the order they came, one at a time. */
export class CellQueue {
  readonly #runner: Promise<CellRunner>;
  readonly #history: CellHistory;
  readonly #output: CellOutput;
  readonly #waiting: JupyterMessage[] = [];
  readonly #aborted = new WeakSet<JupyterMessage>();
  #running = false;
  #executionCount = 0;

  constructor(runner: Promise<CellRunner>, history: CellHistory, output: CellOutput) {
    this.#runner = runner;
    this.#history = history;
    this.#output = output;
  }

  async add(request: JupyterMessage): Promise<void> {
    this.#waiting.push(request);
    if (this.#running) return;
    this.#running = true;
    try {
      const runner = await this.#runner;
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
        await this.#execute(next, runner);
      }
    } finally {
      this.#running = false;
    }
  }

  async #execute(request: JupyterMessage, runner: CellRunner): Promise<void> {
    this.#output.begin(request);
    this.#output.publish("status", { execution_state: "busy" });
    const reply = this.#aborted.has(request)
      ? { status: "aborted", execution_count: this.#executionCount }
      : await this.#run(request.content as unknown as ExecuteContent, runner);
    this.#output.reply(request, reply);
    this.#output.publish("status", { execution_state: "idle" });
  }

  async #run(content: ExecuteContent, runner: CellRunner): Promise<JupyterContent> {
    const { code, silent = false, store_history: stored = !silent, stop_on_error: stops = true } = content;
    if (stored) this.#executionCount++;
    const count = this.#executionCount;
    if (!silent) this.#output.publish("execute_input", { code, execution_count: count });

    const end = await runner.run(code, count);
    const shown = end.kind === "done" ? end.shown : undefined;
    if (stored) this.#history.add(count, code, String(shown?.["text/plain"] ?? ""));
    if (end.kind === "failed") {
      if (!silent) this.#output.publish("error", { ...end.failure });
      if (stops) await this.#abortWaiting();
      return { status: "error", execution_count: count, ...end.failure };
    }
    if (shown && !silent) {
      this.#output.publish("execute_result", { execution_count: count, data: shown, metadata: {} });
    }
    const payload = end.kind === "page" ? [{ source: "page", data: end.page, start: 0 }] : [];
    const expressions: Record<string, unknown> = {};
    for (const [key, expression] of Object.entries(content.user_expressions ?? {})) {
      expressions[key] = await runner.evaluate(String(expression), key);
    }
    return { status: "ok", execution_count: count, payload, user_expressions: expressions };
  }

  /** What the front end had sent before it could see the error does not run; what it sends afterwards does. */
  async #abortWaiting(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ON_ITS_WAY_MS));
    for (const request of this.#waiting) this.#aborted.add(request);
  }
}
