import { randomUUID } from "node:crypto";
import { NOTEBOOK_HOST, type NotebookHost } from "../src/base/host.js";
import type { Connection } from "../src/notebook/connection-json.js";
import type { JupyterContent, JupyterMessage } from "../src/notebook/jupyter-wire.js";
import { CellEngine } from "./cell-engine.js";
import { describeThrown } from "./cell-failure.js";
import { CellHistory, type HistoryQuery } from "./cell-history.js";
import { CellPositions } from "./cell-positions.js";
import { CellQueue, type ExecuteContent } from "./cell-queue.js";
import { CellRunner } from "./cell-runner.js";
import { Comms, freshId } from "./comms.js";
import { KernelSockets, type RequestChannel } from "./kernel-sockets.js";
import { OutputStreams, type StreamName } from "./output-streams.js";
import { Shield } from "./shield.js";
import type { KnownModules } from "./tslab-typescript.js";

export interface KernelOptions {
  readonly connection: Connection;
  readonly launcherPid: number | undefined;
  /** The process that started this one. */
  readonly parentPid: number;
  readonly version: string;
  /** What a notebook server calls this kernel. */
  readonly kernelId: string | undefined;
  /** Folder that cells run in. */
  readonly folder: string;
  readonly modules: KnownModules;
  /** A cell of ours that runs before the first of the user. */
  readonly prelude: string;
  /** Ends the process. */
  readonly exit: (code: number) => void;
}

/** A Jupyter kernel whose cells are TypeScript: the protocol on one side, tslab's compiler on the other. */
export class Kernel {
  readonly #options: KernelOptions;
  readonly #shieldMemory: SharedArrayBuffer = Shield.memory();
  readonly #positions: CellPositions = new CellPositions();
  readonly #history: CellHistory = new CellHistory();
  readonly #comms: Comms;
  readonly #streams: OutputStreams<JupyterMessage | undefined>;
  readonly #interruptListeners = new Set<() => void>();
  readonly #waitingInputs: ((text: string) => void)[] = [];
  readonly #cells: CellQueue;
  readonly #warmed: (runner: CellRunner) => void;
  /** Resolves when the compiler is warm and the SDK in scope. */
  readonly #ready: Promise<CellRunner>;
  #sockets!: KernelSockets;
  #engine: CellEngine | undefined;
  #runner: CellRunner | undefined;
  /** The request whose outputs are being made: the running cell, or the last one. */
  #parent: JupyterMessage | undefined;

  constructor(options: KernelOptions) {
    this.#options = options;
    this.#comms = new Comms((type, content) => this.#publish(type, content));
    this.#streams = new OutputStreams((name, text, parent) =>
      this.#sockets.publish("stream", { name, text }, { parent, topic: `stream.${name}` }),
    );
    let warmed: (runner: CellRunner) => void = () => undefined;
    this.#ready = new Promise((resolve) => {
      warmed = resolve;
    });
    this.#warmed = warmed;
    this.#cells = new CellQueue(this.#ready, this.#history, {
      begin: (request) => {
        this.#streams.flush();
        this.#parent = request;
      },
      publish: (type, content) => this.#publish(type, content),
      reply: (request, content) => {
        this.#streams.flush();
        this.#sockets.reply("shell", request, "execute_reply", content);
      },
    });
  }

  /** Opens the sockets; the compiler warms afterwards, and cells wait for it. */
  async start(): Promise<void> {
    const { connection, launcherPid, parentPid, version } = this.#options;
    this.#sockets = await KernelSockets.open(
      { connection, launcherPid, parentPid, version, session: randomUUID(), shield: this.#shieldMemory },
      {
        onRequest: (channel, message) => void this.#onRequest(channel, message),
        onInput: (message) => this.#onInput(message),
        onInterrupt: () => this.interrupt(),
        onOrphaned: () => void this.stop(),
        onBadMessage: (error) => this.write("stderr", `${error instanceof Error ? error.message : error}\n`),
      },
    );
    this.#becomeHost();
    // The sockets' thread answers front ends meanwhile; the compiler needs this one for seconds.
    setImmediate(() => void this.#warm().catch((error: unknown) => this.reportUncaught(error)));
  }

  /** Text that the process prints becomes output of the running cell. */
  write(name: StreamName, text: string): void {
    this.#streams.write(name, text, this.#parent);
  }

  /** An error that nobody caught: told under the running cell; the kernel lives on. */
  reportUncaught(error: unknown): void {
    const failure = this.#runner?.describe({ kind: "thrown", error }, "") ?? this.#describe(error);
    this.write("stderr", `Nobody caught this error:\n${failure.traceback.join("\n")}\n`);
  }

  /** Ends the running cell, and tells whoever asked to know. */
  interrupt(): void {
    for (const listener of [...this.#interruptListeners]) this.#guard(listener);
    this.#waitingInputs.length = 0;
    this.#runner?.interrupt();
  }

  async stop(): Promise<void> {
    for (const listener of [...this.#interruptListeners]) this.#guard(listener);
    this.#streams.flush();
    await this.#sockets.close();
    this.#engine?.close();
    this.#options.exit(0);
  }

  async #warm(): Promise<void> {
    const { folder, modules, prelude } = this.#options;
    this.#engine = new CellEngine(folder, modules, this.#positions, new Shield(this.#shieldMemory));
    this.#runner = new CellRunner(this.#engine, this.#positions);
    if (prelude !== "") {
      const outcome = await this.#engine.run(prelude, "galvatron-prelude.js");
      if (outcome.kind === "rejected" || outcome.kind === "thrown") {
        const { traceback } = this.#runner.describe(outcome, prelude);
        this.write("stderr", `The SDK did not load:\n${traceback.join("\n")}\n`);
      }
    }
    this.#warmed(this.#runner);
  }

  #becomeHost(): void {
    const host: NotebookHost = {
      kernelId: this.#options.kernelId,
      display: (bundle) => {
        const transient = { display_id: freshId() };
        this.#publish("display_data", { data: bundle, metadata: {}, transient });
        // Front ends find the display by its id. Runners hear only what belongs to the cell that runs, so that is
        // the parent, as it is for Python's kernel.
        return {
          update: (next) => this.#publish("update_display_data", { data: next, metadata: {}, transient }),
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
      await this.#cells.add(message);
      return;
    }
    this.#publish("status", { execution_state: "busy" }, message);
    const replyType = type.replace(/_request$/, "_reply");
    try {
      const content = await this.#answer(type, message);
      if (content) this.#sockets.reply(channel, message, replyType, content);
    } catch (error) {
      this.#sockets.reply(channel, message, replyType, { status: "error", ...this.#describe(error) });
    }
    this.#publish("status", { execution_state: "idle" }, message);
    if (type === "shutdown_request") await this.stop();
  }

  /** The content of the reply, or nothing for messages that have none. */
  async #answer(type: string, message: JupyterMessage): Promise<JupyterContent | undefined> {
    const content = message.content as Record<string, never>;
    const code = content.code ?? "";
    const position = content.cursor_pos ?? 0;
    switch (type) {
      case "complete_request":
        await this.#ready;
        return this.#complete(code, position);
      case "inspect_request": {
        const data = (await this.#ready).hover(code, position);
        return { status: "ok", found: data !== undefined, data: data ?? {}, metadata: {} };
      }
      case "is_complete_request":
        await this.#ready;
        return { ...this.#engine!.completeness(code) };
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

  #complete(code: string, position: number): JupyterContent {
    const { matches, start, end } = this.#engine!.complete(code, position);
    const types = matches.slice(0, 500).map(({ text, kind }) => ({ text, type: kind, start, end }));
    return {
      status: "ok",
      matches: matches.map(({ text }) => text),
      cursor_start: start,
      cursor_end: end,
      metadata: { _jupyter_types_experimental: types },
    };
  }

  /** What a listener shows belongs to the message that woke it. */
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

  #describe(error: unknown): ReturnType<typeof describeThrown> {
    return describeThrown(error, this.#positions, new Map());
  }

  #guard(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.reportUncaught(error);
    }
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
