import { type Kernel, KernelManager, type KernelMessage, ServerConnection } from "@jupyterlab/services";
import { GalvatronError } from "../base/errors.js";
import { embeddedServer, KERNEL_NAME } from "./embedded-server.js";

export interface KernelSessionOptions {
  /** Folder that cells run in, for a kernel of this machine. */
  readonly folder: string;
  /** Address of a Jupyter server; without it the kernel runs here, with no server and no Python. */
  readonly server?: string;
  readonly token?: string;
  /** Which kernel to start on a server. */
  readonly kernelName?: string;
  /** Another kernel than ours, started here: a kernelspec's argv. */
  readonly argv?: readonly string[];
}

/** A running kernel and the way to end it. */
export interface KernelSession {
  readonly kernel: Kernel.IKernelConnection;
  readonly info: KernelMessage.IInfoReply;
  close(): Promise<void>;
}

/** Starts a kernel here or on a Jupyter server. @throws GalvatronError KERNEL_FAILED when it does not start. */
export async function openKernelSession(options: KernelSessionOptions): Promise<KernelSession> {
  const { folder, server, argv } = options;
  const embedded = server === undefined ? embeddedServer({ folder, ...(argv ? { argv } : {}) }) : undefined;
  const restore = quietConsole();
  const manager = new KernelManager({ serverSettings: embedded?.settings ?? remoteSettings(options) });
  const close = async (kernel?: Kernel.IKernelConnection): Promise<void> => {
    if (kernel && !kernel.isDisposed) await kernel.shutdown().catch(() => undefined);
    await embedded?.close();
    manager.dispose();
    restore();
  };
  try {
    const kernel = await manager.startNew({ name: options.kernelName ?? KERNEL_NAME });
    const info = await kernel.info;
    return { kernel, info, close: () => close(kernel) };
  } catch (cause) {
    await close();
    throw startFailure(cause, options);
  }
}

function remoteSettings({ server, token }: KernelSessionOptions): ServerConnection.ISettings {
  const baseUrl = server!.endsWith("/") ? server! : `${server!}/`;
  return ServerConnection.makeSettings({
    baseUrl,
    wsUrl: baseUrl.replace(/^http/, "ws"),
    token: token ?? "",
    appendToken: true,
  });
}

function startFailure(cause: unknown, { server }: KernelSessionOptions): GalvatronError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const where = server === undefined ? "here" : `on ${server}`;
  const advice =
    server === undefined
      ? "Build the package first (npm run build)."
      : "Check the address and the token, and that `galvatron kernel install` was run on that machine.";
  return new GalvatronError(
    "KERNEL_FAILED",
    `The kernel could not be started ${where}: ${reason}. ${advice}`,
    server === undefined ? {} : { server },
    { cause },
  );
}

/** The client library tells of each connection on console.debug, which node prints. */
function quietConsole(): () => void {
  const { console } = globalThis;
  const { debug } = console;
  console.debug = () => undefined;
  return () => {
    console.debug = debug;
  };
}
