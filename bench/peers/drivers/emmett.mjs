// emmett on PostgreSQL: does the phase that its argument describes, and prints what it found as one line of JSON.
import { readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import pg from "pg";
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";

const PAGE_FACTS = 1000;
const FACTS_PER_SECOND = 100;
const DELIVERY_MS_MAX = 20_000;

const job = JSON.parse(process.argv[2]);
const workload = JSON.parse(await readFile(job.workload, "utf8"));
const store = getPostgreSQLEventStore(job.address);
const phases = { publish, history, live };

await store.schema.migrate();
console.log(JSON.stringify(await phases[job.phase]()));
process.exit(0);

async function publish() {
  const batches = batched(workload.facts.map(event), job.facts_per_request);
  const answered = new Array(job.clients).fill(0);
  let open = true;
  const work = async (client) => {
    for (let at = client; open; at++) {
      await store.appendToStream(`order-${client}-${at}`, batches[at % batches.length]);
      answered[client]++;
    }
  };
  const working = answered.map((_, client) => work(client));
  await pause(job.warm_up_seconds * 1000);
  const [before, startedAt] = [sum(answered), performance.now()];
  await pause(job.seconds * 1000);
  const [after, endedAt] = [sum(answered), performance.now()];
  open = false;
  await Promise.all(working);
  const acknowledged = sum(answered) * job.facts_per_request;
  return outcome((after - before) * job.facts_per_request, endedAt - startedAt, acknowledged, await stored());
}

async function history() {
  await load();
  const whole = await readAll();
  const startedAt = performance.now();
  let facts = 0;
  while (performance.now() - startedAt < job.seconds * 1000) {
    facts += await readAll(startedAt + job.seconds * 1000);
  }
  return outcome(facts, performance.now() - startedAt, job.facts, whole);
}

async function live() {
  const events = workload.numbered.map(event).slice(0, Math.floor(FACTS_PER_SECOND * (job.seconds + job.warm_up_seconds)));
  const sentAt = new Array(events.length).fill(0);
  const latencies = new Array(events.length).fill(-1);
  let delivered = 0;
  const consumer = follow("live", {}, (message) => {
    const number = Number(message.data.payload.sequence);
    latencies[number] = performance.now() - sentAt[number];
    delivered++;
  });
  consumer.start();
  await pause(500);
  const startedAt = performance.now();
  for (let number = 0; number < events.length; number++) {
    await pause(startedAt + (number * 1000) / FACTS_PER_SECOND - performance.now());
    sentAt[number] = performance.now();
    store.appendToStream(`order-${number}`, [events[number]]);
  }
  const deadline = performance.now() + DELIVERY_MS_MAX;
  while (delivered < events.length && performance.now() < deadline) await pause(10);
  const ordered = latencies.slice(Math.floor(FACTS_PER_SECOND * job.warm_up_seconds)).sort((a, b) => a - b);
  const percentile = (share) => ordered[Math.min(ordered.length - 1, Math.floor(ordered.length * share))];
  return {
    ...outcome(ordered.length, job.seconds * 1000, events.length, delivered),
    p50_ms: percentile(0.5),
    p99_ms: percentile(0.99),
  };
}

async function load() {
  const batches = batched(workload.facts.map(event), PAGE_FACTS);
  for (let at = 0; at < job.facts / PAGE_FACTS; at++) {
    await store.appendToStream(`order-${at}`, batches[at % batches.length]);
  }
}

// Everything once by a consumer, or as much as comes until the deadline.
async function readAll(deadline = Infinity) {
  let facts = 0;
  const pulling = { batchSize: PAGE_FACTS, pullingFrequencyInMs: 1 };
  const consumer = follow(`history-${performance.now()}`, { pulling, stopWhen: { noMessagesLeft: true } }, () => {
    facts++;
    return performance.now() < deadline ? undefined : { type: "STOP" };
  });
  await consumer.start();
  await consumer.stop();
  return facts;
}

function follow(processorId, options, eachMessage) {
  const consumer = store.consumer(options);
  consumer.reactor({ processorId, startFrom: "BEGINNING", eachMessage });
  return consumer;
}

async function stored() {
  const client = new pg.Client(job.address);
  await client.connect();
  const { rows } = await client.query("select count(*)::int as facts from emt_messages");
  await client.end();
  return rows[0].facts;
}

function event(fact) {
  return { type: fact.type, data: JSON.parse(fact.document), metadata: { tags: fact.tags } };
}

function batched(events, size) {
  const batches = [];
  for (let at = 0; at + size <= events.length; at += size) batches.push(events.slice(at, at + size));
  return batches;
}

function outcome(count, milliseconds, acknowledged, stored) {
  return { count, seconds: milliseconds / 1000, acknowledged, stored };
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}
