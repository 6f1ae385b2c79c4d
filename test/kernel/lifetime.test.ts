import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { EmbeddedKernel } from "../../src/notebook/embedded-kernel.js";
import { kernelArgv } from "../../src/notebook/embedded-server.js";
import { startKernel, until } from "./kernel-client.js";

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

it("a restart begins anew, also in the middle of a loop", async () => {
  const client = await startKernel();
  try {
    await client.run("const gone = 1");
    const running = client.run("while (true) {}").catch((error: unknown) => String(error));
    await new Promise((resolve) => setTimeout(resolve, 400));
    await client.kernel.restart();
    await running;
    const report = await client.run("gone");
    expect(report.error?.evalue).toContain("gone");
    expect(report.reply.execution_count).toBe(1);
  } finally {
    await client.close();
  }
});

it("the process ends when it is told to", async () => {
  const kernel = await EmbeddedKernel.start({ argv: kernelArgv(), folder: tmpdir() });
  const pid = kernel.processId!;
  expect(isAlive(pid)).toBe(true);
  await kernel.stop();
  expect(isAlive(pid)).toBe(false);
  await kernel.stop();
});

it.each(["starting", "at work"])(
  "the process ends when its launcher is killed without a word, %s",
  async (moment) => {
    const folder = mkdtempSync(path.join(tmpdir(), "galvatron-orphan-"));
    const ports = { shell_port: 1, iopub_port: 2, stdin_port: 3, control_port: 4, hb_port: 5 };
    const file = path.join(folder, "connection.json");
    writeFileSync(file, JSON.stringify({ transport: "ipc", ip: path.join(folder, "s"), key: "k", ...ports }));
    const [program, ...words] = kernelArgv().map((word) => word.replace("{connection_file}", file));
    const launcher = spawn(
      process.execPath,
      [
        "-e",
        `const { spawn } = require("node:child_process"); const c = spawn(${JSON.stringify(program)}, ${JSON.stringify(words)}, { stdio: "ignore", env: ${moment === "starting" ? "{ ...process.env, JPY_PARENT_PID: process.pid }" : "process.env"} }); console.log(c.pid); setInterval(() => {}, 1000)`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const pid = await new Promise<number>((resolve) =>
      launcher.stdout.once("data", (text) => resolve(Number(text))),
    );
    // While it starts, its socket not there yet: the hardest moment to be left alone.
    expect(isAlive(pid)).toBe(true);
    if (moment === "at work") await until(() => existsSync(path.join(folder, "s-4")), 60_000);
    launcher.kill("SIGKILL");
    await until(() => !isAlive(pid), 60_000);
    rmSync(folder, { recursive: true, force: true });
  },
);

it("a kernel that cannot start says why", async () => {
  const argv = [process.execPath, "-e", "console.error('no such engine'); process.exit(3)"];
  await expect(EmbeddedKernel.start({ argv, folder: tmpdir() })).rejects.toThrow(/no such engine/);
});
