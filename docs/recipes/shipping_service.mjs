// Ship what was ordered, once: node shipping_service.mjs http://127.0.0.1:8000 shipping.json
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const SILENCE_MS = 45_000;  // three heartbeats that did not come: the connection is dead
const [url, path] = process.argv.slice(2);
const headers = process.env.KEY ? { authorization: `Bearer ${process.env.KEY}` } : {};

function load() {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { cursor: "start", shipped: 0 };
}

function save(state) {  // one rename: the state and its cursor, both or neither
  writeFileSync(`${path}.new`, JSON.stringify(state), { flush: true });
  renameSync(`${path}.new`, path);
}

function derived(id) {  // the UUIDv5 of "shipped" in the id of the order's fact
  const bytes = createHash("sha1").update(Buffer.from(id.replaceAll("-", ""), "hex")).update("shipped").digest();
  bytes[6] = (bytes[6] & 0x0f) | 0x50;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

async function endAt(answer) {
  if (answer.status >= 400 && answer.status < 500 && ![408, 429].includes(answer.status)) {
    console.error(await answer.text());  // a problem: going on would be wrong
    process.exit(1);
  }
}

async function ship(order) {  // every part follows from the order, so that a repetition is the same fact
  const id = derived(order.id);
  const fact = { id, namespace: "shipping", type: "OrderShipped", aggregate_ids: order.aggregate_ids };
  const body = JSON.stringify({ facts: [{ ...fact, payload: { parcel: `parcel-${id.slice(0, 8)}` } }] });
  const request = { method: "POST", headers: { ...headers, "content-type": "application/json" }, body };
  for (;; await sleep(500 * (1 + Math.random()))) {
    const answer = await fetch(`${url}/v1/facts`, { ...request, signal: AbortSignal.timeout(10_000) }).catch(() => null);
    if (answer) await endAt(answer);
    if (answer?.ok) return;
  }
}

async function keep(state, event) {
  if (!event.id || event.event === "problem") return;
  if (!event.event) {
    await ship(JSON.parse(event.data));
    state.shipped += 1;
  }
  state.cursor = event.id;
  save(state);
}

function fields(event) {
  return Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
}

async function follow(state) {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const behind = `${url}/v1/stream?namespace=orders&type=OrderPlaced&after=${encodeURIComponent(state.cursor)}`;
  const answer = await fetch(behind, { headers, signal: silence.signal }).catch(() => null);
  if (answer) await endAt(answer);
  const chunks = answer?.ok && answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let chunk; chunks && (chunk = await chunks.read().catch(() => null)) && !chunk.done; timer.refresh()) {
    const events = (rest + chunk.value).split("\n\n");
    rest = events.pop();
    for (const event of events) await keep(state, fields(event));
  }
  clearTimeout(timer);
}

for (;; await sleep(1000 * (1 + Math.random()))) await follow(load());
