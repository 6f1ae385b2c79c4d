// Drives a real JupyterLab in Chromium as a person would, and prints one JSON line per thing seen.
// node jupyterlab.mjs URL TOKEN SCREENSHOT_FOLDER CHROMIUM
import { menu, openPage, pickKernel, pixels, restartKernel, tell } from "./browser.mjs";

const [url, token, shots, executablePath] = process.argv.slice(2);
const { browser, page, shot, strangers } = await openPage(executablePath, shots);
const outputs = page.locator(".jp-OutputArea-output");

async function runCell(index) {
  await page.locator(".jp-CodeCell").nth(index).locator(".cm-content").click();
  await page.keyboard.press("Control+Enter");
}

try {
  await page.goto(`${url}lab/tree/small.ipynb?token=${token}`);
  await pickKernel(page);
  tell("the kernel can be picked", true);

  await menu(page, "Run", "Run All Cells");
  const plot = page.locator(".js-plotly-plot").first();
  await plot.waitFor();
  const blue = await pixels(page, plot, [0, 114, 178]);
  await shot("figure");
  tell("a figure is drawn by plotly", blue > 2000, `${blue} pixels of its colour`);

  const table = page.locator(".jp-OutputArea-output table").first();
  await table.waitFor();
  tell("records are a table", (await table.textContent()).includes("<user>"), await table.textContent());

  const live = outputs.filter({ hasText: "step 5 of 5" });
  await live.waitFor();
  tell("a display is redrawn in place", (await outputs.filter({ hasText: "step 1 of 5" }).count()) === 0);

  const range = page.locator("[data-galvatron-interact] input[type=range]:enabled");
  await range.waitFor();
  const view = page.locator("[data-galvatron-interact] [data-view]");
  const before = await pixels(page, view, [213, 94, 0]);
  const started = Date.now();
  const box = await range.boundingBox();
  const at = (value) => box.x + 8 + ((box.width - 16) * (value - 1)) / 9;
  await page.mouse.move(at(2), box.y + box.height / 2);
  await page.mouse.down();
  for (const value of [3, 4, 5, 6]) await page.mouse.move(at(value), box.y + box.height / 2);
  await page.mouse.up();
  await page.locator("[data-galvatron-interact] output", { hasText: "6" }).waitFor();
  await page.waitForFunction(
    () => {
      const plot = document.querySelector("[data-galvatron-interact] .js-plotly-plot");
      return plot?.data?.[0]?.y?.[0] === 6;
    },
    undefined,
    { timeout: 10_000 },
  );
  const took = Date.now() - started;
  const after = await pixels(page, view, [213, 94, 0]);
  await shot("slider");
  tell(
    "a slider redraws its figure",
    after > 0 && after !== before,
    `${before} → ${after} pixels, four moves in ${took} ms`,
  );
  // The notebook's own copy is a new page, with the last value written down.
  const copy = (value) =>
    page.locator(`[data-galvatron-interact] input[type=range][value="${value}"]:enabled`);
  await copy(6).waitFor();
  tell("the slider lives on after the notebook's copy followed", true);
  await range.focus();
  await page.keyboard.press("ArrowRight");
  await copy(7).waitFor();
  await page.waitForFunction(() => document.activeElement?.matches("[data-galvatron-interact] input"));
  await page.keyboard.press("ArrowRight");
  await copy(8).waitFor();
  tell("arrow keys move the slider, which keeps the focus when its copy follows", true);
  const named = page.locator("[data-galvatron-interact] [data-view] [role=img]");
  tell(
    "the controls and the figure have names for screen readers",
    (await range.getAttribute("aria-label")) === "value" &&
      (await named.getAttribute("aria-label")) === "How many",
  );

  await page.locator(".jp-CodeCell").nth(4).locator(".cm-content").click();
  await page.keyboard.insertText("await null; while (true) {}");
  await runCell(4);
  await page.waitForTimeout(1000);
  await menu(page, "Kernel", "Interrupt Kernel");
  await outputs.filter({ hasText: "Interrupted" }).first().waitFor();
  await shot("interrupted");
  tell("a loop is interrupted", true);
  await runCell(5);
  await outputs.filter({ hasText: "still here: 41" }).waitFor();
  tell("what was declared before is kept", true);

  await restartKernel(page);
  await runCell(5);
  await outputs.filter({ hasText: "Cannot find name 'kept'" }).waitFor();
  tell("a restart begins anew", true);

  const cell = page.locator(".jp-CodeCell").nth(5).locator(".cm-content");
  await cell.click();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("uniformP");
  const completed = page
    .locator(".jp-Completer-item", { hasText: "uniformPlan" })
    .or(page.locator(".cm-content", { hasText: "uniformPlan" }))
    .first();
  // JupyterLab gives a kernel one second to complete; a kernel that has just started on a busy machine needs more.
  for (let tries = 0; tries < 20 && !(await completed.isVisible()); tries++) {
    await page.keyboard.press("Tab");
    await completed.waitFor({ timeout: 5000 }).catch(() => undefined);
  }
  await completed.waitFor();
  tell("the SDK is completed", true);
  tell("nothing left this machine", strangers.size === 0, [...strangers].join(", "));
} catch (error) {
  await shot("failure").catch(() => undefined);
  tell("the walk through JupyterLab", false, error instanceof Error ? error.message : error);
} finally {
  await browser.close();
}
