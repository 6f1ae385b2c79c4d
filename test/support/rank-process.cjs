// One rank of a native test: a real process that loads the addon and nothing of ours, and does what it is told.

const { join } = require("node:path");

const addon = require(join(__dirname, "../../build/native/galvatron.node"));

class GalvatronError extends Error {
  constructor(code, message, context) {
    super(message);
    this.code = code;
    this.context = context;
  }
}
addon.useErrorClass(GalvatronError);

let worker;

const actions = {
  open: (options) => {
    worker = addon.openWorker(options);
  },
  load: ({ program, graphs }) => worker.load(program, graphs),
  write: ({ tensor, bytes }) => worker.write(tensor, bytes),
  read: (tensor) => worker.read(tensor),
  step: () => worker.step(),
  /** Many steps without a word in between; answers the last one. */
  steps: async (count) => {
    let times;
    for (let i = 0; i < count; i++) times = await worker.step();
    return times;
  },
  abort: (reason) => worker.abort(reason),
  close: () => worker.close(),
  rss: () => {
    globalThis.gc?.();
    return process.memoryUsage().rss;
  },
  loaded: () => ({
    modules: Object.keys(require.cache),
    libraries: process.report.getReport().sharedObjects,
  }),
  /** Leaves while a step is in flight, as a script that calls process.exit does. */
  exitMidStep: () => {
    worker.step().catch(() => {});
    setTimeout(() => process.exit(7), 50);
  },
};

process.on("message", async ({ id, action, value }) => {
  try {
    const result = await actions[action](value);
    process.send({ id, result });
  } catch (error) {
    process.send({
      id,
      error: {
        message: error.message,
        code: error.code,
        context: error.context,
        name: error.constructor.name,
      },
    });
  }
});
process.on("disconnect", () => process.exit(0));
