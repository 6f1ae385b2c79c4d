import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { openKernelSession } from "../../src/notebook/kernel-session.js";

/** What a cell came to, as a front end hears it. */
export interface CellReport {
  readonly reply: Record<string, unknown> & { status: string };
  readonly messages: readonly IoPub[];
  /** Text of a stream, whole. */
  stream(name: "stdout" | "stderr"): string;
  /** Data of the last value. */
  readonly result: Record<string, unknown> | undefined;
  readonly error: { ename: string; evalue: string; traceback: string[] } | undefined;
}

export interface IoPub {
  readonly type: string;
  readonly content: Record<string, unknown>;
}

export interface KernelClient {
  readonly kernel: Kernel.IKernelConnection;
  /** The folder cells run in: empty, and with nothing above it that could help. */
  readonly folder: string;
  run(code: string, request?: Partial<KernelMessage.IExecuteRequestMsg["content"]>): Promise<CellReport>;
  close(): Promise<void>;
}

/** A fresh kernel of the built package in a folder of its own or in one that is kept, driven by JupyterLab's own client. */
export async function startKernel(kept?: string): Promise<KernelClient> {
  const main = path.resolve("dist/kernel/main.js");
  if (!existsSync(main)) throw new Error(`${main} is missing: run "npm run build:ts" before these tests.`);
  const folder = kept ?? mkdtempSync(path.join(tmpdir(), "galvatron-cells-"));
  const session = await openKernelSession({ folder });
  return {
    kernel: session.kernel,
    folder,
    run: (code, request) => runCell(session.kernel, code, request),
    close: async () => {
      await session.close();
      if (!kept) rmSync(folder, { recursive: true, force: true });
    },
  };
}

export async function runCell(
  kernel: Kernel.IKernelConnection,
  code: string,
  request: Partial<KernelMessage.IExecuteRequestMsg["content"]> = {},
): Promise<CellReport> {
  const messages: IoPub[] = [];
  const future = kernel.requestExecute({ code, allow_stdin: true, ...request });
  future.onIOPub = (message) => {
    messages.push({ type: message.header.msg_type, content: message.content as Record<string, unknown> });
  };
  const { content } = await future.done;
  const find = (type: string): Record<string, unknown> | undefined =>
    messages.find((message) => message.type === type)?.content;
  return {
    reply: content as unknown as CellReport["reply"],
    messages,
    stream: (name) =>
      messages
        .filter(({ type, content }) => type === "stream" && content.name === name)
        .map(({ content }) => content.text)
        .join(""),
    result: find("execute_result")?.data as Record<string, unknown> | undefined,
    error: find("error") as CellReport["error"],
  };
}

/** Waits until something is so. */
export async function until(condition: () => boolean, limitMs = 30_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("It did not come to pass in time.");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
