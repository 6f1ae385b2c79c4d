// Loads a folder of Hugging Face weights into a plan of two ranks and writes it back: node round_trip.cjs FROM TO
const { uniformPlan } = require("../../dist/src/plan/uniform.js");
const { compilePlan } = require("../../dist/src/runtime/compile-plan.js");
const { hostPoolOptions } = require("../../dist/src/runtime/coordinator/host-pool.js");
const { SILENT_REPORTER } = require("../../dist/src/session/reporter.js");
const { newSession } = require("../../dist/src/session/session.js");
const { exportJob, exportStates, modelFrom } = require("../../dist/src/session/weights.js");

const [from, to] = process.argv.slice(2);
const session = newSession({ folder: from, reporter: SILENT_REPORTER });
const model = modelFrom(session, ".", {});
const plan = uniformPlan(model, { ranks: 2, tensorDegree: 2, globalBatch: 2 });
void exportStates(
  session,
  compilePlan(model, plan),
  hostPoolOptions(2),
  { weights: "." },
  exportJob(session, to, model),
);
