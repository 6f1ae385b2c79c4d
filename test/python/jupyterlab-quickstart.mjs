// The quickstart in a real JupyterLab in Chromium: every figure drawn, a search behind a slider, a training interrupted,
// the kernel restarted in the middle of another. Prints one JSON line per thing seen.
// node jupyterlab-quickstart.mjs URL TOKEN SCREENSHOT_FOLDER CHROMIUM
import { menu, openPage, pickKernel, pixels, restartKernel, tell } from "./browser.mjs";

const [url, token, shots, executablePath] = process.argv.slice(2);
const { browser, page, shot, strangers } = await openPage(executablePath, shots);
page.setDefaultTimeout(240_000);
const cells = page.locator(".jp-CodeCell");
const idle = page.locator("#jp-main-statusbar", { hasText: "Galvatron | Idle" });

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function runCell(index) {
  const cell = cells.nth(index);
  await cell.scrollIntoViewIfNeeded();
  await cell.locator(".cm-content").click();
  await page.keyboard.press("Control+Enter");
  return cell;
}

async function until(what, name) {
  for (let tries = 0; tries < 600; tries++) {
    if (await what()) return;
    await page.waitForTimeout(200);
  }
  throw new Error(`waited in vain for ${name}`);
}

try {
  await page.goto(`${url}lab/tree/notebooks/quickstart.ipynb?token=${token}`);
  if (
    await page
      .locator(".jp-Dialog")
      .isVisible()
      .catch(() => false)
  )
    await pickKernel(page);
  await idle.waitFor();
  const count = await cells.count();
  // The last four cells are the driver's own.
  for (let index = 0; index < count - 4; index++) {
    const cell = await runCell(index);
    await until(
      async () => /\[\d+\]/.test((await cell.locator(".jp-InputPrompt").textContent()) ?? ""),
      `cell ${index + 1}`,
    );
    const failed = cell.locator(
      '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"], .jp-RenderedText .ansi-red-fg',
    );
    if ((await failed.count()) > 0)
      throw new Error(`cell ${index + 1}: ${await failed.first().textContent()}`);
  }
  tell("the quickstart runs from top to bottom", true, `${count - 4} cells`);
  let drawn = 0;
  let bare = 0;
  for (let index = 0; index < count - 4; index++) {
    await cells.nth(index).scrollIntoViewIfNeeded();
    const places = cells.nth(index).locator("[data-galvatron-plot]");
    for (let at = 0; at < (await places.count()); at++) {
      const plot = places.nth(at).locator(".js-plotly-plot");
      await plot.waitFor({ timeout: 20_000 }).catch(() => undefined);
      if ((await plot.count()) === 1 && (await pixels(page, plot)) > 100) drawn++;
      else bare++;
    }
    await shot(`quickstart-${String(index + 1).padStart(2, "0")}`);
  }
  tell(
    "every figure is drawn by plotly, in colour",
    bare === 0 && drawn >= 14,
    `${drawn} drawn, ${bare} not`,
  );

  const slider = await runCell(count - 4);
  const range = slider.locator("input[type=range]:enabled");
  await range.waitFor();
  const plots = slider.locator("[data-view] .js-plotly-plot");
  const drawnData = () => plots.evaluateAll((all) => all.map(({ data }) => JSON.stringify(data)));
  await until(async () => (await plots.count()) === 3, "the plan's three figures, drawn by plotly");
  const [strategies, cost, memory] = await drawnData();
  await range.focus();
  for (let presses = 0; presses < 4; presses++) await page.keyboard.press("ArrowLeft");
  await until(async () => {
    const now = await drawnData();
    return now.length === 3 && now[0] !== strategies && now[1] !== cost && now[2] !== memory;
  }, "other figures behind the slider");
  await shot("what-if");
  tell("a what-if slider searches anew and redraws every figure of the plan", true);

  const training = await runCell(count - 3);
  const live = training.locator(".js-plotly-plot .gtitle", { hasText: /step [1-9]/ });
  await live.waitFor();
  const early = await live.textContent();
  await until(async () => (await live.textContent()) !== early, "a training that draws itself");
  await menu(page, "Kernel", "Interrupt Kernel");
  const stopped = training.locator(".js-plotly-plot .gtitle", { hasText: "stopped" });
  await stopped.waitFor();
  await shot("training-interrupted");
  await idle.waitFor();
  const kept = await runCell(count - 2);
  const words = kept.locator(".jp-OutputArea-output", { hasText: /stopped after \d+ steps/ });
  await words.waitFor();
  tell("a training is interrupted and keeps its steps", true, await words.first().textContent());

  const second = await runCell(count - 1);
  const told = second.locator(".jp-OutputArea-output", { hasText: /workers \d+/ });
  await told.waitFor();
  const pids = ((await told.first().textContent()) ?? "").match(/\d+/g).map(Number);
  const alive = pids.filter(isAlive).length;
  await restartKernel(page);
  await until(() => !pids.some(isAlive), "the end of the workers");
  tell(
    "a restart in the middle of a training leaves no worker behind",
    alive === pids.length,
    `${pids.length} workers`,
  );
  const after = await runCell(count - 2);
  await after.locator(".jp-OutputArea-output", { hasText: "Cannot find name" }).waitFor();
  tell("a restart begins anew", true);
  tell("nothing left this machine", strangers.size === 0, [...strangers].join(", "));
} catch (error) {
  await shot("quickstart-failure").catch(() => undefined);
  tell("the quickstart in JupyterLab", false, error instanceof Error ? error.message : error);
} finally {
  await browser.close();
}
