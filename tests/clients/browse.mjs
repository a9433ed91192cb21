// Open a page in headless Chromium and run scripts in it: one JSON object a line in, one out. It ends with its input.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath, url] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: [
  "--no-sandbox",  // root has none
  "--host-resolver-rules=MAP *.test 127.0.0.1",
] });
const page = await browser.newPage();
const complaints = [];  // of the page about itself: errors, and what its policy forbade
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
await page.goto(url);

const tools = {
  goto: (to) => page.goto(to),
  press: (key) => page.keyboard.press(key),
  type: (text) => page.keyboard.type(text),
  show: ({ width, height, scheme }) => Promise.all([page.setViewportSize({ width, height }), page.emulateMedia({ colorScheme: scheme })]),
  picture: (path) => page.screenshot({ path }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [[tool, given]] = Object.entries(JSON.parse(line));
  try {
    if (tool === "complaints") console.log(JSON.stringify({ result: complaints.splice(0) }));
    else if (tool === "script") console.log(JSON.stringify({ result: (await page.evaluate(given)) ?? null }));
    else console.log(JSON.stringify({ result: await tools[tool](given).then(() => null) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
