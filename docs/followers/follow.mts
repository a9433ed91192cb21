// Follow a log into a view in a file: node follow.mts 'http://127.0.0.1:8000/v1/stream?namespace=shop' view.json
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

type View = { cursor: string; totals: Record<string, number> };

const SILENCE_MS = 45_000;  // three heartbeats that did not come: the connection is dead
const headers: HeadersInit = process.env.KEY ? { authorization: `Bearer ${process.env.KEY}` } : {};
const [url = "", path = ""] = process.argv.slice(2);
let retryMs = 2000;

function keep(view: View, event: Record<string, string>): void {
  if (event.event === "problem") console.error(event.data);  // if going on is wrong, the next answer says so
  else if (event.data && event.id) {
    if (!event.event) {  // a fact; `caught-up` and `position` move the cursor only
      const { type } = JSON.parse(event.data) as { type: string };
      view.totals[type] = (view.totals[type] ?? 0) + 1;
    }
    view.cursor = event.id;
  }
}

function load(): View {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { cursor: "start", totals: {} };
}

function save(view: View): void {  // one rename: the view and its cursor, both or neither
  writeFileSync(`${path}.new`, JSON.stringify(view), { flush: true });
  renameSync(`${path}.new`, path);
}

function fields(event: string): Record<string, string> {
  return Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
}

async function follow(view: View): Promise<void> {
  const behind = new URL(url), silence = new AbortController();
  behind.searchParams.set("after", view.cursor);
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const answer = await fetch(behind, { headers, signal: silence.signal }).catch(() => null);
  if (answer && answer.status >= 400 && answer.status < 500 && ![408, 429].includes(answer.status)) {
    console.error(await answer.text());  // a problem: going on would be wrong
    process.exit(1);
  }
  const chunks = answer?.ok && answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let chunk; chunks && (chunk = await chunks.read().catch(() => null)) && !chunk.done; timer.refresh()) {
    const events = (rest + chunk.value).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events.map(fields)) {
      keep(view, event);
      retryMs = Number(event.retry ?? retryMs);
    }
    if (events.length) save(view);
  }
  if (rest.startsWith("retry: ")) retryMs = parseInt(rest.slice(7));  // all that there is when the service is busy
  clearTimeout(timer);
}

for (;; await new Promise((wake) => setTimeout(wake, retryMs * (1 + Math.random())))) await follow(load());
