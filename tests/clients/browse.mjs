// Open a page in headless Chromium and run scripts in it: one JSON object a line in, one out. It ends with its input.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath, url] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });  // root has no sandbox
const page = await browser.newPage();
await page.goto(url);

for await (const line of createInterface({ input: process.stdin })) {
  const { script, goto } = JSON.parse(line);
  try {
    const result = goto ? await page.goto(goto).then(() => null) : await page.evaluate(script);
    console.log(JSON.stringify({ result: result ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
