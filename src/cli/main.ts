#!/usr/bin/env node
import { isGalvatronError } from "../base/errors.js";
import type { Command, Terminal } from "./terminal.js";

/** Verbs, loaded when called: `doctor` must work where half of the rest does not. */
const COMMANDS: Readonly<Record<string, { readonly help: string; readonly load: () => Promise<Command> }>> = {
  doctor: {
    help: "what this machine offers, what is missing, and how to get it",
    load: async () => (await import("./doctor.js")).doctorCommand,
  },
  profile: {
    help: "profile hardware | model --model gpt: measure and keep",
    load: async () => (await import("./profile.js")).profileCommand,
  },
  search: {
    help: "search --model gpt --memory 2GB [--output plan.json]: the fastest plan that fits",
    load: async () => (await import("./search.js")).searchCommand,
  },
  plan: {
    help: "plan --model gpt --pipeline 2 --tensor 2 --global-batch 8 [--output plan.json]: a plan by its degrees, priced",
    load: async () => (await import("./plan.js")).planCommand,
  },
  train: {
    help: "train --plan plan.json --data 'docs/**' --steps 200",
    load: async () => (await import("./train.js")).trainCommand,
  },
  evaluate: {
    help: "evaluate --plan plan.json --data 'docs/**' --checkpoint DIR: the loss of what was trained",
    load: async () => (await import("./evaluate.js")).evaluateCommand,
  },
  export: {
    help: "export --plan plan.json --checkpoint DIR --output DIR: a checkpoint as a Hugging Face model",
    load: async () => (await import("./export.js")).exportCommand,
  },
  show: {
    help: "show profile | plan | program FILE",
    load: async () => (await import("./show.js")).showCommand,
  },
  verify: {
    help: "verify --model gpt --plans 10 --ranks 4: random plans against one rank; --plan FILE: that plan",
    load: async () => (await import("./verify.js")).verifyCommand,
  },
  notebook: {
    help: "notebook run FILE | check FILE…: execute without a browser, compare with what is committed",
    load: async () => (await import("./notebook.js")).notebookCommand,
  },
  kernel: {
    help: "kernel install | uninstall [--user | --sys-prefix | --prefix DIR]: the kernel for Jupyter",
    load: async () => (await import("./kernel.js")).kernelCommand,
  },
};

const terminal: Terminal = {
  out: (text) => {
    process.stdout.write(text);
  },
  error: (text) => {
    process.stderr.write(text);
  },
  folder: process.cwd(),
  onInterrupt: (listener) => {
    process.once("SIGINT", listener);
  },
};

async function main(args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  if (verb === undefined || verb === "help" || verb === "--help" || verb === "-h") {
    const lines = Object.entries(COMMANDS).map(([name, { help }]) => `  ${name.padEnd(10)} ${help}`);
    terminal.out(
      `galvatron: automatic distributed training of Transformers\n\n${lines.join("\n")}\n\nEvery verb takes --json.\n`,
    );
    return verb === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, verb) ? COMMANDS[verb] : undefined;
  if (!command) {
    terminal.error(`Unknown verb "${verb}". Known: ${Object.keys(COMMANDS).join(", ")}.\n`);
    return 2;
  }
  return (await command.load())(rest, terminal);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (isGalvatronError(error)) terminal.error(`${error.code}: ${error.message}\n`);
    else terminal.error(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = isGalvatronError(error) && error.code === "ARGUMENT_INVALID" ? 2 : 1;
  },
);
