/**
 * The kernel's five sockets, on a thread of their own: a cell that blocks the main thread still has its output
 * sent, its heartbeat answered and its interrupt heard.
 */
import { Session } from "node:inspector";
import { parentPort, workerData } from "node:worker_threads";
import { Reply, Router, XPublisher } from "zeromq";
import { type Channel, type Connection, channelAddress } from "../src/notebook/connection-json.js";
import {
  decodeMessage,
  draftMessage,
  encodeMessage,
  type JupyterContent,
  type JupyterMessage,
} from "../src/notebook/jupyter-wire.js";
import { Outbox } from "../src/notebook/outbox.js";
import { kernelInfo } from "./kernel-info.js";
import { Shield } from "./shield.js";

/** From the main thread to the sockets. */
export type ToSockets =
  | { readonly send: "shell" | "iopub" | "stdin" | "control"; readonly frames: Uint8Array[] }
  | { readonly heard: number }
  | { readonly close: true };

/** From the sockets to the main thread. */
export type FromSockets =
  | { readonly bound: true }
  | { readonly failed: string }
  | { readonly received: "shell" | "stdin" | "control"; readonly frames: Uint8Array[] }
  | { readonly interrupt: number }
  | { readonly orphaned: true };

export interface SocketWorkerData {
  readonly connection: Connection;
  readonly session: string;
  /** Version of our package, told by kernel_info. */
  readonly version: string;
  /** Up while the main thread must not be ended by force. */
  readonly shield: SharedArrayBuffer;
  /** The process that must outlive the kernel, by its id. */
  readonly launcherPid: number | undefined;
  /** The process that started the kernel. */
  readonly parentPid: number;
}

/** How long the main thread may take to hear of an interrupt before what it does is ended by force. */
const FORCE_AFTER_MS = 200;
const SHIELD_POLL_MS = 20;
const ORPHAN_POLL_MS = 1000;
const LAST_WORD_MS = 1500;

const {
  connection,
  session,
  version,
  launcherPid,
  parentPid,
  shield: shieldMemory,
} = workerData as SocketWorkerData;
const shield: Shield = new Shield(shieldMemory);
const port = parentPort!;
const post = (message: FromSockets): void => port.postMessage(message);

const sockets = {
  shell: new Router({ sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 1000 }),
  control: new Router({ sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 1000 }),
  stdin: new Router({ sendHighWaterMark: 0, linger: 1000 }),
  iopub: new XPublisher({ sendHighWaterMark: 0, linger: 1000, verbosity: "allSubs" }),
  hb: new Reply({ linger: 0 }),
} as const;

const outboxes = {
  shell: new Outbox(sockets.shell),
  control: new Outbox(sockets.control),
  stdin: new Outbox(sockets.stdin),
  iopub: new Outbox(sockets.iopub),
} as const;

let lastInterrupt = 0;
let lastHeard = 0;

/** A cell that waits ends when the main thread hears; one that blocks the thread must be ended from here. */
function interrupt(): void {
  const mine = ++lastInterrupt;
  post({ interrupt: mine });
  const endUnlessHeard = (): void => {
    if (lastHeard >= mine) return;
    if (shield.isUp) setTimeout(endUnlessHeard, SHIELD_POLL_MS).unref();
    else endByForce();
  };
  setTimeout(endUnlessHeard, FORCE_AFTER_MS).unref();
}

/**
 * Ends the JavaScript that runs on the main thread, loops that catch everything included: only the debugger's door
 * does that. A signal would too, but node dies of one that comes while it changes its handlers.
 */
function endByForce(): void {
  const inspector = new Session();
  inspector.connectToMainThread();
  inspector.post("Runtime.terminateExecution", () => inspector.disconnect());
}

/** Tells each front end that subscribes that from now on it misses nothing. */
async function welcomeSubscribers(): Promise<void> {
  const subscribed = 1;
  for await (const [frame] of sockets.iopub) {
    if (frame?.[0] !== subscribed) continue;
    const topic = frame.subarray(1);
    const content = { subscription: topic.toString("utf8") };
    const draft = draftMessage({ type: "iopub_welcome", session, content, identities: [topic] });
    outboxes.iopub.send(encodeMessage(draft, connection.key));
  }
}

async function serveInput(): Promise<void> {
  for await (const frames of sockets.stdin) post({ received: "stdin", frames });
}

/** Answers here what must not wait for the main thread; everything else goes there. */
async function serve(channel: "shell" | "control"): Promise<void> {
  for await (const frames of sockets[channel]) {
    const message = readable(frames);
    const type = message?.header.msg_type;
    if (message && type === "kernel_info_request") {
      answer(channel, message, "kernel_info_reply", kernelInfo(version));
    } else if (message && type === "interrupt_request") {
      interrupt();
      answer(channel, message, "interrupt_reply", { status: "ok" });
    } else {
      if (type === "shutdown_request") endSoon();
      post({ received: channel, frames });
    }
  }
}

/** A message that does not decode goes on as it is: the main thread tells of it. */
function readable(frames: readonly Uint8Array[]): JupyterMessage | undefined {
  try {
    return decodeMessage(frames, connection.key);
  } catch {
    return undefined;
  }
}

function answer(
  channel: "shell" | "control",
  parent: JupyterMessage,
  type: string,
  content: JupyterContent,
): void {
  const status = (state: string): void => publishStatus(state, parent);
  status("busy");
  const reply = draftMessage({ type, session, content, parent, identities: parent.identities });
  outboxes[channel].send(encodeMessage(reply, connection.key));
  status("idle");
}

function publishStatus(state: string, parent?: JupyterMessage): void {
  const draft = draftMessage({
    type: "status",
    session,
    content: { execution_state: state },
    parent,
    identities: [Buffer.from("status")],
  });
  outboxes.iopub.send(encodeMessage(draft, connection.key));
}

async function serveHeartbeat(): Promise<void> {
  for await (const frames of sockets.hb) await sockets.hb.send(frames);
}

/** A kernel that was told to go goes, even when its main thread hangs. */
function endSoon(): void {
  setTimeout(() => process.kill(process.pid, "SIGKILL"), LAST_WORD_MS).unref();
}

/** The launcher may be killed without a word; nobody could reach this kernel any more. */
function watchLauncher(): void {
  setInterval(() => {
    if (process.ppid === parentPid && (launcherPid === undefined || isAlive(launcherPid))) return;
    post({ orphaned: true });
    endSoon();
  }, ORPHAN_POLL_MS).unref();
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function close(): Promise<void> {
  await Promise.all(Object.values(outboxes).map((outbox) => outbox.drained()));
  for (const socket of Object.values(sockets)) socket.close();
  port.close();
}

port.on("message", (message: ToSockets) => {
  if ("send" in message) outboxes[message.send].send(message.frames);
  else if ("heard" in message) lastHeard = Math.max(lastHeard, message.heard);
  else void close();
});

/** A loop over a socket ends with an error when the socket closes; that is how it should end. */
const untilClosed = (loop: Promise<void>): void => void loop.catch(() => undefined);

async function start(): Promise<void> {
  const bind = (channel: Channel): Promise<void> =>
    sockets[channel].bind(channelAddress(connection, channel));
  await Promise.all((["shell", "control", "stdin", "iopub", "hb"] as const).map(bind));
  post({ bound: true });
  watchLauncher();
  publishStatus("starting");
  untilClosed(serve("shell"));
  untilClosed(serve("control"));
  untilClosed(serveInput());
  untilClosed(welcomeSubscribers());
  untilClosed(serveHeartbeat());
}

start().catch((error: unknown) => post({ failed: String(error) }));
