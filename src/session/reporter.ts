import { notebookHost } from "../base/host.js";
import type { Progress } from "../base/progress.js";
import type { MimeBundle } from "../display/mime.js";
import { escapeXml } from "../display/svg.js";
import { PASSING_TYPE } from "../notebook/compare-outputs.js";

/** No output is redrawn more often: a front end has better to do. */
export const REDRAW_MS: number = 100;

/** How long work tells what it does: in the notebook, on a terminal, or nowhere. */
export interface Reporter {
  /** Something the user should know: "not profiled yet: profiling this machine first". */
  notice(text: string): void;
  /** A bar for one long piece of work. */
  progress(title: string): ProgressBar;
}

interface ProgressBar {
  update(progress: Progress): void;
  end(): void;
}

/** Draws under the running cell; outside of a notebook writes to standard error. */
export function defaultReporter(): Reporter {
  return notebookHost() ? notebookReporter() : terminalReporter(process.stderr);
}

/** Marks what comes and goes with what was measured before; see `notebook check`. */
const PASSING: MimeBundle = { [PASSING_TYPE]: {} };

function notebookReporter(): Reporter {
  return {
    notice: (text) => {
      notebookHost()?.display({ ...PASSING, "text/plain": text, "text/html": `<p>${escapeXml(text)}</p>` });
    },
    progress: (title) => {
      const handle = notebookHost()?.display(barBundle(title, { label: "", done: 0, total: 1 }));
      let drawn = 0;
      return {
        update: (progress) => {
          const now = performance.now();
          if (now - drawn < REDRAW_MS && progress.done < progress.total) return;
          drawn = now;
          handle?.update(barBundle(title, progress));
        },
        end: () => handle?.update(barBundle(title, { label: "done", done: 1, total: 1 })),
      };
    },
  };
}

function barBundle(title: string, { label, done, total }: Progress): MimeBundle {
  const text = `${title}: ${label} (${done}/${total})`;
  return {
    ...PASSING,
    "text/html": `<div>${escapeXml(title)} <progress value="${done}" max="${total}"></progress> ${escapeXml(label)}</div>`,
    "text/plain": text,
  };
}

const BAR_WIDTH = 24;

/** @param stream - standard error: standard output belongs to results */
export function terminalReporter(stream: NodeJS.WriteStream): Reporter {
  return {
    notice: (text) => {
      stream.write(`${text}\n`);
    },
    progress: (title) => {
      let drawn = 0;
      return {
        update: ({ label, done, total }) => {
          const now = performance.now();
          if (!stream.isTTY || (now - drawn < REDRAW_MS && done < total)) return;
          drawn = now;
          const filled = Math.round((BAR_WIDTH * done) / Math.max(1, total));
          stream.write(`\r\x1b[K${title} ${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${label}`);
        },
        end: () => {
          if (stream.isTTY) stream.write(`\r\x1b[K`);
        },
      };
    },
  };
}

/** For callers that want no word. */
export const SILENT_REPORTER: Reporter = {
  notice: () => {},
  progress: () => ({ update: () => {}, end: () => {} }),
};
