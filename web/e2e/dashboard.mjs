// Looks at a running GoHub as a person would, and prints each step that it reaches; the Go test beside it makes the load
// and watches the notifications. Usage: node e2e/dashboard.mjs BASE-URL PASSWORD
import { hostname } from "node:os";
import { chromium } from "playwright-core";

const [base, password] = process.argv.slice(2);
const timeout = 90_000; // a busy machine is slow, and a broken page fails all the same

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
page.setDefaultTimeout(timeout);
const complaints = [];
// The answer 401 before the login is part of the way; the browser logs it as an error.
page.on("console", (message) => {
  if (message.type() === "error" && !message.text().includes("401")) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => {
  const url = new URL(request.url());
  if (url.protocol !== "data:" && url.protocol !== "blob:" && url.host !== new URL(base).host) complaints.push(`request to ${url}`);
});

const step = (text) => console.log(text);
const fail = (text) => {
  throw new Error(text);
};

try {
  await page.goto(base);
  await page.locator("input[type=password]").fill(password);
  await page.locator("button[type=submit]").click();
  const row = page.locator(`[data-testid=host-row][data-hostname="${hostname()}"]`);
  await row.waitFor();
  step("host listed");

  const cpu = row.locator("[data-testid=host-cpu]");
  const first = await cpu.innerText();
  await page.waitForFunction(
    ([name, before]) => {
      const value = document.querySelector(`[data-testid=host-row][data-hostname="${name}"] [data-testid=host-cpu]`);
      return value && value.textContent?.trim() !== before.trim();
    },
    [hostname(), first],
  );
  step("CPU value changed");

  await row.click();
  const points = (atLeast) =>
    page.waitForFunction((n) => {
      const chart = document.querySelector('[data-testid=chart][data-metric="cpu"]');
      return chart && Number(chart.getAttribute("data-points")) >= n;
    }, atLeast);
  await points(5);
  step("graph has points");
  await page.reload();
  await points(5);
  step("reload shows history");
  if (!(await page.locator("[data-testid=source]").innerText()).includes("A point is")) fail("nothing says where the points were read");
  await page.getByRole("button", { name: "Add labels" }).click();
  await page.getByLabel("Labels set on the server").fill("rack=r12, site=ams");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("link", { name: "rack r12" }).click();
  await row.waitFor();
  if (new URL(page.url()).searchParams.get("q") !== 'rack="r12"') fail(`the chip leads to ${page.url()}`);
  await page.getByLabel("Filter hosts").fill("rack!=r12");
  await row.waitFor({ state: "detached" });
  step("label set, and hosts found by it");

  await page.goto(base);
  await row.waitFor();
  step("waiting for an alert");
  await page.locator("[data-testid=alert-toast]").first().waitFor({ timeout: 2 * timeout }); // the load waits for a calm machine
  const badge = await page.locator("[data-testid=alert-badge]").first().innerText();
  if (!badge.includes("1")) fail(`the badge says ${badge}`);
  await page.goto(`${base}/alerts/`);
  await page.locator('[data-testid=alert-row][data-rule="busy"][data-state="firing"]').waitFor();
  step("alert shown");
  await page.locator('[data-testid=alert-row][data-rule="busy"][data-state="resolved"]').waitFor();
  step("alert resolved");

  if (complaints.length > 0) fail(`the browser complains:\n${complaints.join("\n")}`);
} catch (error) {
  await page.screenshot({ path: process.env.SCREENSHOT ?? "/tmp/gohub-e2e.png", fullPage: true }).catch(() => {});
  throw error;
} finally {
  await browser.close();
}
