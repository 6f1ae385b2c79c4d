// Drives a real JupyterLab in Chromium as a person would, and prints one JSON line per thing seen.
// node jupyterlab.mjs URL TOKEN SCREENSHOT_FOLDER CHROMIUM
import { mkdirSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";

const [url, token, shots, executablePath] = process.argv.slice(2);
mkdirSync(shots, { recursive: true });
const FLAGS =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
const browser = await chromium.launch({ executablePath, args: FLAGS.split(" ") });
const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
page.setDefaultTimeout(60_000);
const strangers = new Set();
page.on("request", (request) => {
  const { hostname, protocol } = new URL(request.url());
  if (protocol.startsWith("http") && hostname !== "127.0.0.1") strangers.add(hostname);
});

const tell = (name, ok, detail = "") =>
  process.stdout.write(`${JSON.stringify({ name, ok: Boolean(ok), detail: String(detail) })}\n`);
const shot = (name) => page.screenshot({ path: path.join(shots, `${name}.png`) });
const outputs = page.locator(".jp-OutputArea-output");

/** How many pixels of an element are near a colour. */
async function pixels(element, [r, g, b]) {
  await element.scrollIntoViewIfNeeded();
  const picture = (await element.screenshot()).toString("base64");
  return await page.evaluate(
    async ({ picture, r, g, b }) => {
      const image = new Image();
      image.src = `data:image/png;base64,${picture}`;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, image.width, image.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4)
        if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 30) count++;
      return count;
    },
    { picture, r, g, b },
  );
}

async function menu(...names) {
  for (const [index, name] of names.entries()) {
    const place = index === 0 ? page.locator(".lm-MenuBar-item") : page.locator(".lm-Menu-item");
    await place.filter({ hasText: name }).first().click();
  }
}

async function runCell(index) {
  await page.locator(".jp-CodeCell").nth(index).locator(".cm-content").click();
  await page.keyboard.press("Control+Enter");
}

try {
  await page.goto(`${url}lab/tree/small.ipynb?token=${token}`);
  const dialog = page.locator(".jp-Dialog");
  await dialog.waitFor();
  await dialog.locator("select").selectOption({ label: "Galvatron" });
  await dialog.locator("button.jp-mod-accept").click();
  await dialog.waitFor({ state: "detached" });
  await page.locator("#jp-main-statusbar", { hasText: "Galvatron | Idle" }).waitFor();
  tell("the kernel can be picked", true);

  await menu("Run", "Run All Cells");
  const plot = page.locator(".js-plotly-plot").first();
  await plot.waitFor();
  const blue = await pixels(plot, [0, 114, 178]);
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
  const before = await pixels(view, [213, 94, 0]);
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
  const after = await pixels(view, [213, 94, 0]);
  await shot("slider");
  tell(
    "a slider redraws its figure",
    after > 0 && after !== before,
    `${before} → ${after} pixels, four moves in ${took} ms`,
  );
  await page.waitForTimeout(1500);
  tell("the slider lives on after the notebook's copy followed", await range.isEnabled());
  await range.click({ position: { x: box.width / 2, y: box.height / 2 } });
  const middle = Number(await range.inputValue());
  await page.keyboard.press("ArrowRight");
  await page.waitForTimeout(500);
  tell(
    "the arrow keys move the slider",
    Number(await range.inputValue()) === middle + 1,
    `${middle} → ${await range.inputValue()}; focus on ${await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 120))}`,
  );

  await page.locator(".jp-CodeCell").nth(4).locator(".cm-content").click();
  await page.keyboard.insertText("await null; while (true) {}");
  await runCell(4);
  await page.waitForTimeout(1000);
  await menu("Kernel", "Interrupt Kernel");
  await outputs.filter({ hasText: "Interrupted" }).first().waitFor();
  await shot("interrupted");
  tell("a loop is interrupted", true);
  await runCell(5);
  await outputs.filter({ hasText: "still here: 41" }).waitFor();
  tell("what was declared before is kept", true);

  await menu("Kernel", "Restart Kernel…");
  await dialog.waitFor();
  await dialog.locator("button.jp-mod-accept").click();
  await dialog.waitFor({ state: "detached" });
  await runCell(5);
  await outputs.filter({ hasText: "Cannot find name 'kept'" }).waitFor();
  tell("a restart begins anew", true);

  const cell = page.locator(".jp-CodeCell").nth(5).locator(".cm-content");
  await cell.click();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("uniformP");
  await page.keyboard.press("Tab");
  await page
    .locator(".jp-Completer-item", { hasText: "uniformPlan" })
    .or(page.locator(".cm-content", { hasText: "uniformPlan" }))
    .first()
    .waitFor();
  tell("the SDK is completed", true);
  tell("nothing left this machine", strangers.size === 0, [...strangers].join(", "));
} catch (error) {
  await shot("failure").catch(() => undefined);
  tell("the walk through JupyterLab", false, error instanceof Error ? error.message : error);
} finally {
  await browser.close();
}
