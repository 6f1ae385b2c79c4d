import { randomUUID } from "node:crypto";
import path from "node:path";
import { ServerConnection } from "@jupyterlab/services";
import { type ChannelMessage, EmbeddedKernel, type KernelCommand } from "./embedded-kernel.js";
import { packageFolder } from "./package-folder.js";

/** The kernelspec name under which our kernel is installed. */
export const KERNEL_NAME: string = "galvatron";

/** What starts our kernel. The flag keeps node from dying when an interrupt ends JavaScript inside a callback. */
export function kernelArgv(): string[] {
  const main = path.join(packageFolder(), "dist", "kernel", "main.js");
  return [process.execPath, "--no-force-async-hooks-checks", main, "{connection_file}"];
}

export interface EmbeddedServerOptions {
  /** Folder that cells run in. */
  readonly folder: string;
  /** Another kernel than ours: a kernelspec's argv. */
  readonly argv?: readonly string[];
}

/** A Jupyter server in this process, with just what JupyterLab's client library asks of one. */
export interface EmbeddedServer {
  /** Settings that make a `KernelManager` start and reach kernels here. */
  readonly settings: ServerConnection.ISettings;
  /** Ends every kernel. May be called twice. */
  close(): Promise<void>;
}

interface Hosted {
  kernel: EmbeddedKernel;
  readonly sockets: Set<KernelSocket>;
  /** Stops passing on what the kernel says. */
  silence: () => void;
}

const ORIGIN = "kernel.invalid";

/** Lets `@jupyterlab/services` drive our kernel with no Python, no port and no network. */
export function embeddedServer(options: EmbeddedServerOptions): EmbeddedServer {
  const command: KernelCommand = {
    argv: options.argv ?? kernelArgv(),
    folder: options.folder,
  };
  const kernels = new Map<string, Hosted>();

  class Socket extends KernelSocket {
    constructor(url: string) {
      super(kernels.get(/kernels\/([^/]+)\/channels/.exec(url)?.[1] ?? ""));
    }
  }

  const settings = ServerConnection.makeSettings({
    baseUrl: `http://${ORIGIN}/`,
    wsUrl: `ws://${ORIGIN}/`,
    fetch: ((request: Request) => answer(request, kernels, command)) as typeof fetch,
    WebSocket: Socket as never,
    // Messages stay objects: they never leave this process as text.
    serializer: { serialize: (message: unknown) => message, deserialize: (data: unknown) => data } as never,
  });
  return {
    settings,
    close: async () => {
      await Promise.all([...kernels.values()].map(({ kernel }) => kernel.stop()));
      kernels.clear();
    },
  };
}

async function answer(
  request: Request,
  kernels: Map<string, Hosted>,
  command: KernelCommand,
): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === "/api/kernelspecs") return json(kernelspecs(command));
  const [, id, action] = /^\/api\/kernels(?:\/([^/]+))?(?:\/(\w+))?$/.exec(pathname) ?? [undefined];
  if (id === undefined && /^\/api\/kernels\/?$/.test(pathname)) {
    if (request.method === "GET") return json([...kernels].map(([key, hosted]) => modelOf(key, hosted)));
    const key = randomUUID();
    const kernel = await EmbeddedKernel.start(command);
    const hosted: Hosted = { kernel, sockets: new Set(), silence: () => undefined };
    watch(hosted);
    kernels.set(key, hosted);
    return json(modelOf(key, hosted), 201);
  }
  const hosted = kernels.get(id ?? "");
  if (!hosted) return json({ message: `There is nothing at ${pathname}.` }, 404);
  if (action === "interrupt") {
    hosted.kernel.interrupt();
    return new Response(null, { status: 204 });
  }
  if (action === "restart") {
    // That the old kernel dies is what was asked for: no news.
    hosted.silence();
    await hosted.kernel.stop();
    hosted.kernel = await EmbeddedKernel.start(command);
    watch(hosted);
  }
  if (request.method === "DELETE") {
    kernels.delete(id!);
    await hosted.kernel.stop();
    return new Response(null, { status: 204 });
  }
  return json(modelOf(id!, hosted));
}

function watch(hosted: Hosted): void {
  hosted.silence = hosted.kernel.listen((message) => {
    for (const socket of hosted.sockets) socket.deliver(message);
  });
}

function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
}

function modelOf(id: string, { kernel, sockets }: Hosted): object {
  return {
    id,
    name: KERNEL_NAME,
    execution_state: kernel.isAlive ? "idle" : "dead",
    last_activity: new Date().toISOString(),
    connections: sockets.size,
  };
}

function kernelspecs(command: KernelCommand): object {
  const spec = {
    argv: command.argv,
    display_name: "Galvatron",
    language: "typescript",
    interrupt_mode: "message",
    env: {},
    metadata: {},
  };
  return {
    default: KERNEL_NAME,
    kernelspecs: { [KERNEL_NAME]: { name: KERNEL_NAME, spec, resources: {} } },
  };
}

/** What the client library takes for a WebSocket to a server. */
class KernelSocket {
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  onmessage: ((event: { data: ChannelMessage }) => void) | null = null;
  readyState = 0;
  binaryType = "arraybuffer";
  readonly protocol: string = "";
  readonly #hosted: Hosted | undefined;

  constructor(hosted: Hosted | undefined) {
    this.#hosted = hosted;
    setImmediate(() => {
      if (this.readyState !== 0) return;
      if (!hosted) {
        this.close();
        return;
      }
      hosted.sockets.add(this);
      this.readyState = 1;
      this.onopen?.();
    });
  }

  deliver(message: ChannelMessage): void {
    this.onmessage?.({ data: message });
  }

  send(message: ChannelMessage): void {
    this.#hosted?.kernel.send(message);
  }

  close(): void {
    this.readyState = 3;
    this.#hosted?.sockets.delete(this);
    setImmediate(() => this.onclose?.({ code: 1000 }));
  }
}
