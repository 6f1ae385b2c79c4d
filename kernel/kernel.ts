import { randomUUID } from "node:crypto";
import { MessageChannel } from "node:worker_threads";
import { NOTEBOOK_HOST, type NotebookHost } from "../src/base/host.js";
import type { MimeBundle } from "../src/display/mime.js";
import type { Connection } from "../src/notebook/connection-json.js";
import type { JupyterContent, JupyterMessage } from "../src/notebook/jupyter-wire.js";
import { present } from "../src/notebook/present.js";
import { CellEngine, type CellOutcome } from "./cell-engine.js";
import { type CellFailure, describeInterrupt, describeRejected, describeThrown } from "./cell-failure.js";
import { CellHistory, type HistoryQuery } from "./cell-history.js";
import { CellPositions } from "./cell-positions.js";
import { Comms, freshId } from "./comms.js";
import { KernelSockets, type RequestChannel } from "./kernel-sockets.js";
import { OutputStreams, type StreamName } from "./output-streams.js";
import type { KnownModules } from "./tslab-typescript.js";

export interface KernelOptions {
  readonly connection: Connection;
  readonly launcherPid: number | undefined;
  readonly version: string;
  /** Folder that cells run in. */
  readonly folder: string;
  readonly modules: KnownModules;
  /** A cell of ours that runs before the first of the user. */
  readonly prelude: string;
  /** Ends the process. */
  readonly exit: (code: number) => void;
}

/** A cell that an interrupt has ended gets this long to end by itself before the kernel goes on without it. */
const LEAVE_CELL_AFTER_MS = 50;

interface ExecuteContent {
  readonly code: string;
  readonly silent?: boolean;
  readonly store_history?: boolean;
  readonly stop_on_error?: boolean;
  readonly allow_stdin?: boolean;
  readonly user_expressions?: Readonly<Record<string, string>>;
}

/** What a cell came to: what it showed as text, or why it failed. */
type CellEnd =
  | { readonly shown: string; readonly payload: readonly object[] }
  | { readonly failure: CellFailure };

/** A Jupyter kernel whose cells are TypeScript: the protocol on one side, tslab's compiler on the other. */
export class Kernel {
  readonly #options: KernelOptions;
  readonly #positions: CellPositions = new CellPositions();
  readonly #history: CellHistory = new CellHistory();
  readonly #comms: Comms;
  readonly #streams: OutputStreams<JupyterMessage | undefined>;
  readonly #interruptListeners = new Set<() => void>();
  readonly #waitingInputs: ((text: string) => void)[] = [];
  readonly #cellSources = new Map<string, { count: number; code: string }>();
  readonly #queue: JupyterMessage[] = [];
  readonly #aborted = new WeakSet<JupyterMessage>();
  readonly #entry = new MessageChannel();
  #sockets!: KernelSockets;
  #engine!: CellEngine;
  #ready: Promise<void> = Promise.resolve();
  /** The request whose outputs are being made: the running cell, or the last one. */
  #parent: JupyterMessage | undefined;
  #running = false;
  #executionCount = 0;
  #cellNumber = 0;
  /** Ends the running cell from outside. */
  #leaveCell: ((reason: Error) => void) | undefined;

  constructor(options: KernelOptions) {
    this.#options = options;
    this.#comms = new Comms((type, content) => this.#publish(type, content));
    this.#streams = new OutputStreams((name, text, parent) =>
      this.#sockets.publish("stream", { name, text }, { parent, topic: `stream.${name}` }),
    );
  }

  /** Opens the sockets; the compiler warms afterwards, and cells wait for it. */
  async start(): Promise<void> {
    const { connection, launcherPid, version } = this.#options;
    this.#sockets = await KernelSockets.open(
      { connection, launcherPid, version, session: randomUUID() },
      {
        onRequest: (channel, message) => void this.#onRequest(channel, message),
        onInput: (message) => this.#onInput(message),
        onInterrupt: () => this.#interrupt(),
        onOrphaned: () => void this.stop(),
        onBadMessage: (error) => this.#complain("A message was dropped", error),
      },
    );
    this.#becomeHost();
    this.#ready = this.#warm();
  }

  /** Text that the process prints becomes output of the running cell. */
  write(name: StreamName, text: string): void {
    this.#streams.write(name, text, this.#parent);
  }

  /** An error that nobody caught: told under the running cell; the kernel lives on. */
  reportUncaught(error: unknown): void {
    const { traceback } = describeThrown(error, this.#positions, this.#cellSources);
    this.write("stderr", `Nobody caught this error:\n${traceback.join("\n")}\n`);
  }

  /** SIGINT from outside counts as an interrupt. */
  onSignal(): void {
    this.#interrupt();
  }

  async stop(): Promise<void> {
    for (const listener of this.#interruptListeners) this.#guard(listener);
    this.#streams.flush();
    await this.#sockets.close();
    this.#engine?.close();
    this.#options.exit(0);
  }

  async #warm(): Promise<void> {
    // The sockets' thread answers front ends meanwhile; the compiler needs this one for seconds.
    await new Promise((resolve) => setImmediate(resolve));
    this.#engine = new CellEngine(this.#options.folder, this.#options.modules, this.#positions);
    if (this.#options.prelude === "") return;
    const outcome = await this.#engine.run(this.#options.prelude, "galvatron-prelude.js");
    if (outcome.kind === "rejected" || outcome.kind === "thrown") {
      const told = this.#describe(outcome, this.#options.prelude);
      this.write("stderr", `The SDK did not load:\n${told.traceback.join("\n")}\n`);
    }
  }

  #becomeHost(): void {
    const host: NotebookHost = {
      display: (bundle) => {
        const parent = this.#parent;
        const transient = { display_id: freshId() };
        this.#publish("display_data", { data: bundle, metadata: {}, transient }, parent);
        return {
          update: (next) =>
            this.#publish("update_display_data", { data: next, metadata: {}, transient }, parent),
        };
      },
      onInterrupt: (listener) => {
        this.#interruptListeners.add(listener);
        return () => void this.#interruptListeners.delete(listener);
      },
      clearOutput: (wait) => this.#publish("clear_output", { wait }),
      input: (prompt, secret) => this.#askInput(prompt, secret),
      onComm: (target, listener) => this.#comms.onOpen(target, listener),
    };
    (globalThis as { [NOTEBOOK_HOST]?: NotebookHost })[NOTEBOOK_HOST] = host;
  }

  #publish(type: string, content: JupyterContent, parent: JupyterMessage | undefined = this.#parent): void {
    this.#streams.flush();
    this.#sockets.publish(type, content, { parent });
  }

  async #onRequest(channel: RequestChannel, message: JupyterMessage): Promise<void> {
    const type = message.header.msg_type;
    if (type === "execute_request") {
      this.#queue.push(message);
      void this.#runQueue();
      return;
    }
    this.#publish("status", { execution_state: "busy" }, message);
    const replyType = type.replace(/_request$/, "_reply");
    try {
      const content = await this.#answer(type, message);
      if (content) this.#sockets.reply(channel, message, replyType, content);
    } catch (error) {
      const failure = describeThrown(error, this.#positions, this.#cellSources);
      this.#sockets.reply(channel, message, replyType, { status: "error", ...failure });
    }
    this.#publish("status", { execution_state: "idle" }, message);
    if (type === "shutdown_request") await this.stop();
  }

  /** The content of the reply, or nothing for messages that have none. */
  async #answer(type: string, message: JupyterMessage): Promise<JupyterContent | undefined> {
    const content = message.content as Record<string, never>;
    switch (type) {
      case "complete_request":
        await this.#ready;
        return this.#complete(content);
      case "inspect_request": {
        await this.#ready;
        const data = this.#hover(content.code ?? "", content.cursor_pos ?? 0);
        return { status: "ok", found: data !== undefined, data: data ?? {}, metadata: {} };
      }
      case "is_complete_request":
        await this.#ready;
        return { ...this.#engine.completeness(content.code ?? "") };
      case "history_request":
        return { status: "ok", history: this.#history.find(content as HistoryQuery) };
      case "comm_info_request":
        return { status: "ok", comms: this.#comms.info(content.target_name) };
      case "comm_open":
      case "comm_msg":
      case "comm_close":
        this.#handleComm(message);
        return undefined;
      case "shutdown_request":
        return { status: "ok", restart: content.restart ?? false };
      default:
        return {
          status: "error",
          ename: "NotSupported",
          evalue: `This kernel has no answer to ${type}.`,
          traceback: [],
        };
    }
  }

  /** A listener that fails tells so under the message that woke it. */
  #handleComm(message: JupyterMessage): void {
    const parent = this.#parent;
    this.#parent = message;
    try {
      this.#comms.handle(message);
    } catch (error) {
      this.reportUncaught(error);
    } finally {
      this.#streams.flush();
      this.#parent = parent;
    }
  }

  #complete(content: Record<string, never>): JupyterContent {
    const { matches, start, end } = this.#engine.complete(content.code ?? "", content.cursor_pos ?? 0);
    const types = matches.slice(0, 500).map(({ text, kind }) => ({ text, type: kind, start, end }));
    return {
      status: "ok",
      matches: matches.map(({ text }) => text),
      cursor_start: start,
      cursor_end: end,
      metadata: { _jupyter_types_experimental: types },
    };
  }

  #hover(code: string, position: number): MimeBundle | undefined {
    const hover = this.#engine.hover(code, position);
    if (!hover) return undefined;
    const { signature, documentation } = hover;
    return {
      "text/plain": documentation ? `${signature}\n\n${documentation}` : signature,
      "text/markdown": `\`\`\`typescript\n${signature}\n\`\`\`\n\n${documentation}`,
    };
  }

  async #runQueue(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      await this.#ready;
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) await this.#execute(next);
    } finally {
      this.#running = false;
    }
  }

  async #execute(message: JupyterMessage): Promise<void> {
    const request = message.content as unknown as ExecuteContent;
    const {
      code,
      silent = false,
      store_history: storeHistory = !silent,
      stop_on_error: stops = true,
    } = request;
    this.#parent = message;
    this.#publish("status", { execution_state: "busy" });
    const reply = (content: JupyterContent): void => {
      this.#streams.flush();
      this.#sockets.reply("shell", message, "execute_reply", content);
      this.#publish("status", { execution_state: "idle" });
    };
    if (this.#aborted.has(message)) {
      reply({ status: "aborted", execution_count: this.#executionCount });
      return;
    }
    if (storeHistory) this.#executionCount++;
    const count = this.#executionCount;
    if (!silent) this.#publish("execute_input", { code, execution_count: count });

    const end = await this.#runCell(code, count, silent);
    if (storeHistory) this.#history.add(count, code, "shown" in end ? end.shown : "");
    if ("failure" in end) {
      const { failure } = end;
      if (!silent) this.#publish("error", { ...failure });
      if (stops) await this.#abortQueue();
      reply({ status: "error", execution_count: count, ...failure });
      return;
    }
    const expressions = await this.#userExpressions(request.user_expressions ?? {});
    reply({ status: "ok", execution_count: count, payload: end.payload, user_expressions: expressions });
  }

  async #runCell(code: string, count: number, silent: boolean): Promise<CellEnd> {
    const asked = /^\s*([\w.$]+)\s*\?{1,2}\s*$/.exec(code);
    if (asked) return this.#page(asked[1]!);
    const name = `galvatron-cell-${++this.#cellNumber}.js`;
    this.#cellSources.set(name, { count, code });
    try {
      const outcome = await this.#enter(() => this.#engine.run(code, name));
      if (outcome.kind === "silent") return { shown: "", payload: [] };
      if (outcome.kind !== "value") return { failure: this.#describe(outcome, code) };
      return await this.#enter(() => this.#show(outcome.value, count, silent));
    } catch (error) {
      if (error instanceof LeftCell) this.#engine.keepReached(code);
      return { failure: this.#describe({ kind: "thrown", error }, code) };
    }
  }

  /** Shows the last value of a cell; a promise is waited for, a handle of ongoing work is not one. */
  async #show(last: unknown, count: number, silent: boolean): Promise<CellEnd> {
    const value = await last;
    if (value === undefined || value === null || silent) return { shown: "", payload: [] };
    const data = await present(value);
    this.#publish("execute_result", { execution_count: count, data, metadata: {} });
    return { shown: String(data["text/plain"]), payload: [] };
  }

  /** `name?` opens the pager on what the compiler knows of the name. */
  #page(name: string): CellEnd {
    const data = this.#hover(name, name.length);
    if (!data) {
      const evalue = `"${name}" is not in scope.`;
      return { failure: { ename: "NameError", evalue, traceback: [evalue] } };
    }
    return { shown: "", payload: [{ source: "page", data, start: 0 }] };
  }

  #describe(outcome: CellOutcome, code: string): CellFailure {
    if (outcome.kind === "rejected") return describeRejected(outcome.diagnostics, code);
    const error = outcome.kind === "thrown" ? outcome.error : undefined;
    if (error instanceof LeftCell) return describeInterrupt();
    return describeThrown(error, this.#positions, this.#cellSources);
  }

  async #userExpressions(expressions: Readonly<Record<string, string>>): Promise<JupyterContent> {
    const results: Record<string, unknown> = {};
    for (const [key, code] of Object.entries(expressions)) {
      const outcome = await this.#engine.run(String(code), `galvatron-expression-${key}.js`);
      results[key] =
        outcome.kind === "value" || outcome.kind === "silent"
          ? {
              status: "ok",
              data: await present(outcome.kind === "value" ? outcome.value : undefined),
              metadata: {},
            }
          : { status: "error", ...this.#describe(outcome, code) };
    }
    return results;
  }

  /** What the front end had sent before it could see the error does not run; what it sends afterwards does. */
  async #abortQueue(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    for (const message of this.#queue) this.#aborted.add(message);
  }

  /**
   * Runs work of the user from a fresh stack, so that ending it by force ends none of the kernel's own frames, and
   * lets an interrupt leave it behind.
   */
  #enter<Result>(work: () => Promise<Result>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#leaveCell = reject;
      this.#entry.port2.once("message", () => {
        work().then(resolve, reject);
      });
      this.#entry.port1.postMessage(0);
    }).finally(() => {
      this.#leaveCell = undefined;
    });
  }

  #interrupt(): void {
    for (const listener of this.#interruptListeners) this.#guard(listener);
    this.#engine?.interrupt();
    const leave = this.#leaveCell;
    if (leave) setTimeout(() => leave(new LeftCell()), LEAVE_CELL_AFTER_MS);
  }

  #guard(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.reportUncaught(error);
    }
  }

  #complain(what: string, error: unknown): void {
    this.write("stderr", `${what}: ${error instanceof Error ? error.message : String(error)}\n`);
  }

  #askInput(prompt: string, secret: boolean): Promise<string> {
    const parent = this.#parent;
    if (!parent || !(parent.content as unknown as ExecuteContent).allow_stdin) {
      return Promise.reject(new Error("This front end offers no input; pass the value in the code instead."));
    }
    this.#streams.flush();
    this.#sockets.reply("stdin", parent, "input_request", { prompt, password: secret });
    return new Promise((resolve) => this.#waitingInputs.push(resolve));
  }

  #onInput(message: JupyterMessage): void {
    this.#waitingInputs.shift()?.(String((message.content as { value?: unknown }).value ?? ""));
  }
}

/** Why a cell that did not end by itself was left. */
class LeftCell extends Error {}
