import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Dealer, Subscriber } from "zeromq";
import { GalvatronError } from "../base/errors.js";
import { type Channel, type Connection, channelAddress } from "./connection-json.js";
import {
  decodeMessage,
  encodeMessage,
  type JupyterContent,
  type JupyterHeader,
  type JupyterMessage,
  jupyterHeader,
} from "./jupyter-wire.js";
import { Outbox } from "./outbox.js";

/** How to start a kernel: as in a kernelspec, with "{connection_file}" where the path goes. */
export interface KernelCommand {
  readonly argv: readonly string[];
  /** Folder that cells run in. */
  readonly folder: string;
  /** Loopback ports instead of files in a private folder, for kernels that know no others. */
  readonly transport?: "tcp" | "ipc";
}

/** A message with the channel it belongs to: the form in which notebook servers hand messages on. */
export interface ChannelMessage {
  readonly channel: Channel;
  readonly header: JupyterHeader;
  readonly parent_header: JupyterMessage["parent_header"];
  readonly metadata: JupyterContent;
  readonly content: JupyterContent;
  readonly buffers: readonly ArrayBuffer[];
}

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 4_000;
const ASK_AGAIN_MS = 100;
const TAIL_CHARACTERS = 4_000;

/** A kernel process of ours, reached over its own sockets with no Jupyter server between. */
export class EmbeddedKernel {
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #key: string;
  readonly #session: string = randomUUID();
  readonly #outboxes: Record<"shell" | "stdin" | "control", Outbox>;
  readonly #sockets: readonly (Dealer | Subscriber)[];
  readonly #listeners = new Set<(message: ChannelMessage) => void>();
  readonly #exited: Promise<void>;
  #alive = true;
  #lastWords = "";

  private constructor(command: KernelCommand, connection: Connection, folder: string) {
    const file = path.join(folder, "connection.json");
    writeFileSync(file, JSON.stringify({ ...connection, signature_scheme: "hmac-sha256" }), { mode: 0o600 });
    this.#folder = folder;
    this.#key = connection.key;
    const [program, ...parameters] = command.argv.map((word) => word.replace("{connection_file}", file));
    this.#process = spawn(program!, parameters, {
      cwd: command.folder,
      stdio: ["ignore", "pipe", "pipe"],
      // A Ctrl-C at the terminal is ours to pass on as an interrupt, not the kernel's to die of.
      detached: process.platform !== "win32",
    });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#lastWords = (this.#lastWords + text).slice(-TAIL_CHARACTERS);
      });
    }
    this.#exited = new Promise((resolve) => {
      this.#process.once("error", (error) => {
        this.#lastWords += error.message;
        this.#onExit();
        resolve();
      });
      this.#process.once("exit", (code, signal) => {
        this.#lastWords += `\n(${signal ? `ended by ${signal}` : `exit code ${code}`})`;
        this.#onExit();
        resolve();
      });
    });
    const dealer = (channel: Channel): Dealer => {
      const socket = new Dealer({ routingId: this.#session, linger: 0, sendHighWaterMark: 0 });
      socket.connect(channelAddress(connection, channel));
      return socket;
    };
    const iopub = new Subscriber({ receiveHighWaterMark: 0, linger: 0 });
    iopub.subscribe("");
    iopub.connect(channelAddress(connection, "iopub"));
    const sockets = { shell: dealer("shell"), stdin: dealer("stdin"), control: dealer("control") };
    this.#sockets = [...Object.values(sockets), iopub];
    this.#outboxes = {
      shell: new Outbox(sockets.shell),
      stdin: new Outbox(sockets.stdin),
      control: new Outbox(sockets.control),
    };
    for (const [channel, socket] of Object.entries({ ...sockets, iopub })) {
      void this.#receive(channel as Channel, socket);
    }
  }

  /**
   * Starts the process and waits until it answers on both shell and iopub.
   * @throws GalvatronError KERNEL_FAILED with the process's last words when it does not.
   */
  static async start(command: KernelCommand): Promise<EmbeddedKernel> {
    // A socket's path may have some 100 characters at most, so it lies right under the temporary folder.
    const folder = mkdtempSync(path.join(tmpdir(), "galvatron-"));
    const kernel = new EmbeddedKernel(command, await privateConnection(folder, command.transport), folder);
    try {
      await kernel.#answers();
    } catch (error) {
      await kernel.stop();
      throw error;
    }
    return kernel;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  get processId(): number | undefined {
    return this.#process.pid;
  }

  /** Resolves when the process is gone. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  listen(listener: (message: ChannelMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  send(message: ChannelMessage): void {
    if (message.channel !== "shell" && message.channel !== "stdin" && message.channel !== "control") return;
    const buffers = (message.buffers ?? []).map(bytesOf);
    const frames = encodeMessage({ ...message, identities: [], buffers }, this.#key);
    this.#outboxes[message.channel].send(frames);
  }

  interrupt(): void {
    this.#request("control", "interrupt_request", {});
  }

  /** Asks the kernel to go, and ends it when it does not. May be called twice. */
  async stop(): Promise<void> {
    if (this.#alive) {
      this.#request("control", "shutdown_request", { restart: false });
      const force = setTimeout(() => this.#process.kill("SIGKILL"), STOP_LIMIT_MS);
      await this.#exited;
      clearTimeout(force);
    }
    for (const socket of this.#sockets) if (!socket.closed) socket.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #request(channel: "shell" | "control", type: string, content: JupyterContent): void {
    const header = jupyterHeader(type, this.#session, "galvatron");
    this.send({ channel, header, parent_header: {}, metadata: {}, content, buffers: [] });
  }

  async #answers(): Promise<void> {
    const heard = new Set<Channel>();
    const ignore = this.listen((message) => heard.add(message.channel));
    const deadline = Date.now() + START_LIMIT_MS;
    try {
      while (!(heard.has("shell") && heard.has("iopub"))) {
        if (!this.#alive || Date.now() > deadline) {
          const reason = this.#alive ? `did not answer within ${START_LIMIT_MS / 1000} s` : "ended at once";
          throw new GalvatronError(
            "KERNEL_FAILED",
            `The kernel ${reason}. Its last words: ${this.#lastWords.trim() || "none"}`,
            { command: this.#process.spawnargs.join(" ") },
          );
        }
        this.#request("shell", "kernel_info_request", {});
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      }
    } finally {
      ignore();
    }
  }

  async #receive(channel: Channel, socket: AsyncIterable<Uint8Array[]>): Promise<void> {
    try {
      for await (const frames of socket) {
        const { header, parent_header, metadata, content, buffers } = decodeMessage(frames, this.#key);
        this.#tell({ channel, header, parent_header, metadata, content, buffers: buffers.map(ownBuffer) });
      }
    } catch {
      // The socket was closed: nothing more will come.
    }
  }

  #tell(message: ChannelMessage): void {
    for (const listener of [...this.#listeners]) listener(message);
  }

  #onExit(): void {
    this.#alive = false;
    const header = jupyterHeader("status", this.#session);
    const content = { execution_state: "dead", reason: this.#lastWords.trim() };
    this.#tell({ channel: "iopub", header, parent_header: {}, metadata: {}, content, buffers: [] });
  }
}

/** Sockets that only this user can reach: files in a private folder, or loopback ports where those do not exist. */
async function privateConnection(
  folder: string,
  transport: "tcp" | "ipc" = process.platform === "win32" ? "tcp" : "ipc",
): Promise<Connection> {
  const key = randomUUID();
  if (transport === "ipc") {
    const ports = { shell_port: 1, iopub_port: 2, stdin_port: 3, control_port: 4, hb_port: 5 };
    return { transport: "ipc", ip: path.join(folder, "s"), key, ...ports };
  }
  const [shell, iopub, stdin, control, hb] = await Promise.all([1, 2, 3, 4, 5].map(freePort));
  return {
    transport: "tcp",
    ip: "127.0.0.1",
    key,
    shell_port: shell!,
    iopub_port: iopub!,
    stdin_port: stdin!,
    control_port: control!,
    hb_port: hb!,
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

function bytesOf(buffer: ArrayBuffer | ArrayBufferView): Uint8Array {
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer)
    : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(copy).set(bytes);
  return copy;
}
