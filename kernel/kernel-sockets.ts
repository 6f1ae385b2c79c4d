import path from "node:path";
import { Worker } from "node:worker_threads";
import { GalvatronError } from "../src/base/errors.js";
import type { Connection } from "../src/notebook/connection-json.js";
import {
  decodeMessage,
  draftMessage,
  encodeMessage,
  type JupyterContent,
  type JupyterMessage,
} from "../src/notebook/jupyter-wire.js";
import type { FromSockets, SocketWorkerData, ToSockets } from "./socket-worker.js";

export type RequestChannel = "shell" | "control";

/** What the sockets tell the kernel. */
export interface SocketEvents {
  onRequest(channel: RequestChannel, message: JupyterMessage): void;
  onInput(message: JupyterMessage): void;
  onInterrupt(): void;
  /** Nobody can reach this kernel any more. */
  onOrphaned(): void;
  onBadMessage(error: unknown): void;
}

/** The kernel's end of the thread that holds its sockets. Everything sent leaves in the order it was sent. */
export class KernelSockets {
  readonly #worker: Worker;
  readonly #key: string;
  readonly #session: string;

  private constructor(worker: Worker, key: string, session: string) {
    this.#worker = worker;
    this.#key = key;
    this.#session = session;
  }

  /** @throws GalvatronError KERNEL_FAILED when a socket cannot be bound. */
  static async open(data: SocketWorkerData, events: SocketEvents): Promise<KernelSockets> {
    const worker = new Worker(path.join(__dirname, "socket-worker.js"), { workerData: data });
    await new Promise<void>((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", (first: FromSockets) => {
        worker.off("error", reject);
        if ("failed" in first) reject(bindFailure(first.failed, data.connection));
        else resolve();
      });
    });
    const sockets = new KernelSockets(worker, data.connection.key, data.session);
    worker.on("message", (message: FromSockets) => sockets.#dispatch(message, events));
    return sockets;
  }

  reply(
    channel: RequestChannel | "stdin",
    parent: JupyterMessage,
    type: string,
    content: JupyterContent,
  ): void {
    this.#send(channel, type, content, { parent, identities: parent.identities });
  }

  publish(type: string, content: JupyterContent, more: PublishOptions = {}): void {
    this.#send("iopub", type, content, { ...more, identities: [Buffer.from(more.topic ?? type)] });
  }

  /** Resolves when everything sent has left and the sockets are closed. */
  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#worker.once("exit", resolve));
    this.#post({ close: true });
    await gone;
  }

  #send(
    channel: RequestChannel | "stdin" | "iopub",
    type: string,
    content: JupyterContent,
    more: Partial<JupyterMessage> & PublishOptions,
  ): void {
    const { parent, identities = [], metadata = {}, buffers = [] } = more;
    const draft = draftMessage({
      type,
      session: this.#session,
      content,
      parent,
      identities,
      metadata,
      buffers,
    });
    this.#post({ send: channel, frames: encodeMessage(draft, this.#key) });
  }

  #post(message: ToSockets): void {
    this.#worker.postMessage(message);
  }

  #dispatch(message: FromSockets, events: SocketEvents): void {
    if ("received" in message) this.#receive(message.received, message.frames, events);
    else if ("interrupt" in message) {
      this.#post({ heard: message.interrupt });
      events.onInterrupt();
    } else if ("orphaned" in message) events.onOrphaned();
  }

  #receive(channel: RequestChannel | "stdin", frames: readonly Uint8Array[], events: SocketEvents): void {
    let message: JupyterMessage;
    try {
      message = decodeMessage(frames, this.#key);
    } catch (error) {
      events.onBadMessage(error);
      return;
    }
    if (channel === "stdin") events.onInput(message);
    else events.onRequest(channel, message);
  }
}

export interface PublishOptions {
  readonly parent?: JupyterMessage | undefined;
  readonly metadata?: JupyterContent;
  readonly buffers?: readonly Uint8Array[];
  readonly topic?: string;
}

function bindFailure(reason: string, connection: Connection): GalvatronError {
  return new GalvatronError(
    "KERNEL_FAILED",
    `The kernel could not listen at ${connection.transport}://${connection.ip}: ${reason}. Another process may hold its ports; start the kernel again.`,
    { ip: connection.ip },
  );
}
