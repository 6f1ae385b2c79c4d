import { randomUUID } from "node:crypto";
import type { HostComm } from "../src/base/host.js";
import type { JupyterContent, JupyterMessage } from "../src/notebook/jupyter-wire.js";

type PublishComm = (type: "comm_open" | "comm_msg" | "comm_close", content: JupyterContent) => void;

interface Comm {
  readonly target: string;
  readonly messageListeners: ((data: unknown) => void)[];
  readonly closeListeners: (() => void)[];
}

const RESTARTED = "The kernel started anew since this was drawn: run its cell again.";

/** The comms of this kernel: channels that a front end opens to a named target here. */
export class Comms {
  readonly #publish: PublishComm;
  readonly #open = new Map<string, Comm>();
  readonly #targets = new Map<string, (comm: HostComm) => void>();

  constructor(publish: PublishComm) {
    this.#publish = publish;
  }

  /** Answers comms opened to `target`; the function returned takes the answer away again. */
  onOpen(target: string, listener: (comm: HostComm) => void): () => void {
    this.#targets.set(target, listener);
    return () => {
      if (this.#targets.get(target) === listener) this.#targets.delete(target);
    };
  }

  /** Open comms as comm_info_reply lists them. */
  info(target: unknown): Record<string, { target_name: string }> {
    const entries = [...this.#open]
      .filter(([, comm]) => target === undefined || target === null || comm.target === target)
      .map(([id, comm]) => [id, { target_name: comm.target }] as const);
    return Object.fromEntries(entries);
  }

  handle(message: JupyterMessage): void {
    const { comm_id: id, data, target_name: target } = message.content as Record<string, unknown>;
    const comm = this.#open.get(String(id));
    switch (message.header.msg_type) {
      case "comm_open":
        this.#accept(String(id), String(target), data);
        break;
      case "comm_msg":
        if (!comm) this.#refuse(String(id), RESTARTED);
        for (const listener of comm?.messageListeners ?? []) listener(data);
        break;
      default:
        this.#open.delete(String(id));
        for (const listener of comm?.closeListeners ?? []) listener();
    }
  }

  #refuse(id: string, reason: string): void {
    this.#publish("comm_close", { comm_id: id, data: { reason } });
  }

  #accept(id: string, target: string, data: unknown): void {
    const listener = this.#targets.get(target);
    if (!listener) {
      this.#refuse(id, `Nothing here answers "${target}".`);
      return;
    }
    const comm: Comm = { target, messageListeners: [], closeListeners: [] };
    this.#open.set(id, comm);
    listener({
      data,
      send: (content) => this.#publish("comm_msg", { comm_id: id, data: content }),
      onMessage: (heard) => comm.messageListeners.push(heard),
      onClose: (heard) => comm.closeListeners.push(heard),
    });
  }
}

/** A name that no other display or comm of this kernel has. */
export function freshId(): string {
  return randomUUID().replaceAll("-", "");
}
