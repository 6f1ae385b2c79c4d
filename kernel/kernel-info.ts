import { type JupyterContent, PROTOCOL_VERSION } from "../src/notebook/jupyter-wire.js";

/** The TypeScript that tslab compiles cells with. */
const CELL_TYPESCRIPT = "5.0.4";

/** The answer to kernel_info_request. It needs no compiler, so a front end has it while the engine still warms. */
export function kernelInfo(version: string): JupyterContent {
  return {
    status: "ok",
    protocol_version: PROTOCOL_VERSION,
    implementation: "galvatron",
    implementation_version: version,
    banner: `Galvatron ${version}: automatic distributed training of Transformers (TypeScript ${CELL_TYPESCRIPT}, Node ${process.version})`,
    language_info: {
      name: "typescript",
      version: CELL_TYPESCRIPT,
      mimetype: "text/typescript",
      file_extension: ".ts",
      pygments_lexer: "typescript",
      codemirror_mode: { mode: "typescript", name: "javascript", typescript: true },
      nbconvert_exporter: "script",
    },
    help_links: [],
  };
}
