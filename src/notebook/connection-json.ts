import { z } from "zod";
import { GalvatronError } from "../base/errors.js";

/** The five sockets of a kernel, in the protocol's own names. */
export type Channel = "shell" | "iopub" | "stdin" | "control" | "hb";

/** What a connection file holds: where a kernel listens, and the key that signs its messages. */
export interface Connection {
  readonly transport: "tcp" | "ipc";
  readonly ip: string;
  readonly key: string;
  readonly shell_port: number;
  readonly iopub_port: number;
  readonly stdin_port: number;
  readonly control_port: number;
  readonly hb_port: number;
}

const port: z.ZodNumber = z.number().int().min(1).max(65535);

const connectionSchema: z.ZodType<Connection> = z.object({
  transport: z.enum(["tcp", "ipc"]),
  ip: z.string().min(1),
  key: z.string(),
  shell_port: port,
  iopub_port: port,
  stdin_port: port,
  control_port: port,
  hb_port: port,
});

/** @throws GalvatronError KERNEL_FAILED when the text is no connection file. */
export function parseConnection(text: string, path: string): Connection {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new GalvatronError(
      "KERNEL_FAILED",
      `Expected JSON in the connection file ${path}.`,
      { path },
      { cause },
    );
  }
  const parsed = connectionSchema.safeParse(value);
  if (!parsed.success) {
    throw new GalvatronError(
      "KERNEL_FAILED",
      `${path} is no Jupyter connection file: ${z.prettifyError(parsed.error)}`,
      { path },
    );
  }
  return parsed.data;
}

/** The ZeroMQ address of one channel. Over "ipc", `ip` is a path prefix and ports are its suffixes. */
export function channelAddress(connection: Connection, channel: Channel): string {
  const number = connection[`${channel}_port`];
  return connection.transport === "ipc"
    ? `ipc://${connection.ip}-${number}`
    : `tcp://${connection.ip}:${number}`;
}
