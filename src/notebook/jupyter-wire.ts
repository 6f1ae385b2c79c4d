import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { GalvatronError } from "../base/errors.js";

/** The version of the Jupyter messaging protocol that kernel and bridge speak. */
export const PROTOCOL_VERSION: string = "5.3";

export interface JupyterHeader {
  readonly msg_id: string;
  readonly session: string;
  readonly username: string;
  readonly date: string;
  readonly msg_type: string;
  readonly version: string;
}

export type JupyterContent = Readonly<Record<string, unknown>>;

/** One message as the protocol documents it, with the ZeroMQ routing prefix it came with. */
export interface JupyterMessage {
  readonly identities: readonly Uint8Array[];
  readonly header: JupyterHeader;
  readonly parent_header: JupyterHeader | Readonly<Record<string, never>>;
  readonly metadata: JupyterContent;
  readonly content: JupyterContent;
  readonly buffers: readonly Uint8Array[];
}

export interface MessageDraft {
  readonly type: string;
  readonly session: string;
  readonly content: JupyterContent;
  readonly parent?: JupyterMessage | undefined;
  readonly identities?: readonly Uint8Array[];
  readonly metadata?: JupyterContent;
  readonly buffers?: readonly Uint8Array[];
}

const DELIMITER: Buffer = Buffer.from("<IDS|MSG>");

export function jupyterHeader(type: string, session: string, username = "kernel"): JupyterHeader {
  return {
    msg_id: randomUUID(),
    session,
    username,
    date: new Date().toISOString(),
    msg_type: type,
    version: PROTOCOL_VERSION,
  };
}

export function draftMessage(draft: MessageDraft): JupyterMessage {
  return {
    identities: draft.identities ?? [],
    header: jupyterHeader(draft.type, draft.session),
    parent_header: draft.parent?.header ?? {},
    metadata: draft.metadata ?? {},
    content: draft.content,
    buffers: draft.buffers ?? [],
  };
}

/** Frames of a signed message: identities, delimiter, HMAC-SHA256 signature, four JSON parts, raw buffers. */
export function encodeMessage(message: JupyterMessage, key: string): Uint8Array[] {
  const parts = [message.header, message.parent_header, message.metadata, message.content].map((part) =>
    Buffer.from(JSON.stringify(part)),
  );
  return [...message.identities, DELIMITER, Buffer.from(sign(parts, key)), ...parts, ...message.buffers];
}

/** @throws GalvatronError KERNEL_FAILED when the frames are no message or the signature is not ours. */
export function decodeMessage(frames: readonly Uint8Array[], key: string): JupyterMessage {
  const at = frames.findIndex((frame) => DELIMITER.equals(frame));
  const parts = frames.slice(at + 2, at + 6);
  if (at < 0 || parts.length < 4) {
    throw new GalvatronError("KERNEL_FAILED", "Expected a Jupyter message; the frames hold no complete one.");
  }
  const expected = Buffer.from(sign(parts, key));
  const signature = frames[at + 1]!;
  if (expected.length !== signature.length || !timingSafeEqual(expected, signature)) {
    throw new GalvatronError(
      "KERNEL_FAILED",
      "A Jupyter message has a wrong signature: it was made with another connection's key, and was dropped.",
    );
  }
  const [header, parentHeader, metadata, content] = parts.map((part) =>
    JSON.parse(Buffer.from(part).toString("utf8")),
  ) as [JupyterHeader, JupyterHeader, JupyterContent, JupyterContent];
  return {
    identities: frames.slice(0, at),
    header,
    parent_header: parentHeader,
    metadata,
    content,
    buffers: frames.slice(at + 6),
  };
}

function sign(parts: readonly Uint8Array[], key: string): string {
  if (key === "") return "";
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return hmac.digest("hex");
}
