/** Every way the SDK can fail: one closed list to grep, switch on and test. */
export type ErrorCode =
  | "ARGUMENT_INVALID" // an option, flag or memory size that cannot be read
  | "MODEL_UNKNOWN" // no family or preset of that name
  | "MODEL_INVALID" // a configuration that no Transformer can have
  | "PLAN_INVALID" // a plan that breaks a validity rule, or a plan file that does not fit its schema
  | "PROFILE_INVALID" // a profile file that does not fit its schema
  | "PROFILE_INCOMPLETE" // the search needs a number that nobody measured
  | "NO_FEASIBLE_PLAN" // every plan exceeds the memory budget
  | "PROGRAM_INVALID" // verifyProgram found a problem: our own mistake, told before anything runs
  | "DATA_INVALID" // a data file that is missing, empty or malformed
  | "FILE_UNREADABLE" // a path that cannot be read
  | "FILE_UNWRITABLE" // a path that cannot be written
  | "CHECKPOINT_INVALID" // a checkpoint that is truncated, corrupted or of another model
  | "DEVICE_UNAVAILABLE" // no such device here, or a library it needs is missing
  | "DEVICE_FAILED" // ONNX Runtime, CUDA or NCCL reported an error
  | "WORKER_LOST" // a rank died or stopped answering
  | "RUN_STOPPED" // the run was stopped before it came to its end
  | "NATIVE_MISSING" // the addon was not built for this machine
  | "NOTEBOOK_INVALID" // a notebook file that cannot be read, or a cell that failed
  | "KERNEL_FAILED"; // the notebook kernel did not start or stopped answering

/** What a person needs to act on a failure, with units in the names. */
export type ErrorContext = Readonly<Record<string, string | number | boolean>>;

/** The one error class: says what was expected, what came, and what to do. `cause` keeps the error underneath. */
export class GalvatronError extends Error {
  override readonly name: string = "GalvatronError";
  /** Tells the error across two loaded copies of the package, where `instanceof` does not. */
  readonly isGalvatronError: true = true;
  /** Which of the ways to fail it was. */
  readonly code: ErrorCode;
  /** The values in the message, by name. */
  readonly context: ErrorContext;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.context = context;
  }
}

/** Whether a value is an error of this package, whichever loaded copy of it made the error. */
export function isGalvatronError(value: unknown): value is GalvatronError {
  return value instanceof Error && "isGalvatronError" in value;
}

/** For the `default` of a switch over a closed union: a new member fails the build here. */
export function assertNever(value: never): never {
  throw new TypeError(`Unreachable: ${JSON.stringify(value)}`);
}
