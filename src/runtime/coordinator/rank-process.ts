import { type ChildProcess, fork } from "node:child_process";
import { GalvatronError } from "../../base/errors.js";
import { builtFile } from "../built-file.js";
import { type FromWorker, parseFromWorker, type SteppedMessage, type ToWorker } from "../wire.js";

/** What is kept of a rank's own output, for error messages. */
const OUTPUT_TAIL_CHARACTERS = 2000;

/**
 * A worker's JavaScript only passes messages: a small young generation keeps its garbage from counting against the
 * rank's memory, and after loading it collects what loading needed.
 */
const WORKER_FLAGS: string[] = ["--max-semi-space-size=1", "--expose-gc"];

type Request = Extract<ToWorker, { id: number }>;
type Reply = Extract<FromWorker, { id: number }>;
/** A request before it has its number. */
type Question = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;

export interface RankEvents {
  onStep(rank: number, message: SteppedMessage): void;
  /** A step failed inside the rank; the process is still there. */
  onFailure(rank: number, error: GalvatronError): void;
  /** The process is gone though nobody asked it to go. */
  onLost(rank: number, error: GalvatronError): void;
}

/** The process of one rank, as its coordinator sees it. */
export interface RankProcess {
  readonly rank: number;
  readonly pid: number;
  /** @throws GalvatronError when the rank answers with a failure, is lost, or does not answer in time */
  request<K extends Reply["kind"]>(
    question: Question,
    reply: K,
    deadlineMs: number,
  ): Promise<Extract<Reply, { kind: K }>>;
  tell(message: Extract<ToWorker, { kind: "advance" | "abort" }>): void;
  /** Fails every waiting request: the pool gives up. */
  rejectAll(error: Error): void;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
  kill(): void;
  /** From now on its exit is no loss. */
  expectExit(): void;
}

export function startRankProcess(rank: number, events: RankEvents): RankProcess {
  const child: ChildProcess = fork(builtFile("worker/main.js"), [], {
    serialization: "advanced",
    execArgv: WORKER_FLAGS,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const waiting = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();
  let nextId = 1;
  let exitExpected = false;
  let output = "";
  const keepTail = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-OUTPUT_TAIL_CHARACTERS);
  };
  child.stdout?.on("data", keepTail);
  child.stderr?.on("data", keepTail);

  const rejectAll = (error: Error): void => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };

  child.on("message", (raw) => {
    let message: FromWorker;
    try {
      message = parseFromWorker(raw);
    } catch (error) {
      events.onFailure(
        rank,
        new GalvatronError(
          "WORKER_LOST",
          `Rank ${rank} sent a message that cannot be read (please report this): ${(error as Error).message}`,
          { rank },
          { cause: error },
        ),
      );
      return;
    }
    if (message.kind === "stepped") events.onStep(rank, message);
    else if (message.kind === "failed" && message.id === null) {
      events.onFailure(
        rank,
        new GalvatronError(message.code, `Rank ${rank}: ${message.message}`, { ...message.context, rank }),
      );
    } else if (message.id !== null) {
      const request = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.kind === "failed")
        request?.reject(
          new GalvatronError(message.code, `Rank ${rank}: ${message.message}`, { ...message.context, rank }),
        );
      else request?.resolve(message);
    }
  });

  let settleGone: () => void = () => {};
  const gone = new Promise<void>((resolve) => {
    settleGone = resolve;
  });
  let over = false;
  const lost = (how: string): void => {
    if (over) return;
    over = true;
    const said = output.trim() ? ` It last said: ${output.trim()}` : "";
    const error = new GalvatronError(
      "WORKER_LOST",
      `Rank ${rank} (process ${child.pid ?? "never started"}) ${how}.${said}`,
      { rank, pid: child.pid ?? -1 },
    );
    rejectAll(error);
    settleGone();
    if (!exitExpected) events.onLost(rank, error);
  };
  child.on("error", (error) => {
    if (child.pid === undefined) lost(`could not start: ${error.message}`);
  });
  child.on("exit", (code, signal) =>
    lost(signal ? `was ended by ${signal}` : `ended by itself with exit code ${code}`),
  );

  return {
    rank,
    pid: child.pid ?? -1,
    gone,
    request: (question, reply, deadlineMs) =>
      new Promise((resolve, reject) => {
        const id = nextId++;
        const timer = setTimeout(() => {
          waiting.delete(id);
          reject(
            new GalvatronError(
              "WORKER_LOST",
              `Rank ${rank} did not answer "${question.kind}" within ${deadlineMs} ms.`,
              { rank, deadlineMs },
            ),
          );
        }, deadlineMs);
        waiting.set(id, {
          resolve: (message) => {
            clearTimeout(timer);
            if (message.kind === reply) resolve(message as Extract<Reply, { kind: typeof reply }>);
            else reject(new TypeError(`rank ${rank} answered ${message.kind} to ${question.kind}`));
          },
          reject: (error) => {
            clearTimeout(timer);
            reject(error);
          },
        });
        if (over) rejectAll(new GalvatronError("WORKER_LOST", `Rank ${rank} has ended.`, { rank }));
        else
          child.send({ ...question, id } as Request, (error) => {
            if (error) waiting.get(id)?.reject(error);
          });
      }),
    tell: (message) => {
      if (!over && child.connected) child.send(message, () => {});
    },
    rejectAll,
    kill: () => {
      child.kill("SIGKILL");
    },
    expectExit: () => {
      exitExpected = true;
    },
  };
}
