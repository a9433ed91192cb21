// What the tests of the TypeScript client do with it, in Node and in pages: each function gets the client and its arguments.

export async function publish({ Factwire }, { url, namespace }) {
  const log = new Factwire(url), told = [];
  for (let n = 0; n < 5; n++) told.push((await log.publish(namespace, "Counted", { n, filling: "x".repeat(400 * n) })).position);
  return told;
}

export async function publishOne({ Factwire }, { url, namespace, options, rest }) {
  return new Factwire(url, options).publish(namespace, "OrderPlaced", {}, rest);
}

export async function resume({ Factwire }, { url, unknown, options }) {
  return (await new Factwire(url, options).resume(unknown)).replayed;
}

export async function construct({ Factwire }, { url }) {
  new Factwire(url);
}

export async function splice({ Json }) {
  new Json('1},{"namespace":"admin","type":"Evil","payload":2');
}

export async function noQuery({ Factwire }, { url }) {
  await new Factwire(url).page([]);
}

export async function commitInApply({ Factwire, SqliteView }, { url, namespace }) {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(":memory:");
  database.exec("create table seen (n integer)");
  const apply = (target, fact) => { target.prepare("insert into seen values (?)").run(fact.payload.n); target.exec("commit"); };
  const options = { untilCaughtUp: true, batchMax: 1 };
  await new Factwire(url).project(new SqliteView(database, "seen"), { namespaces: [namespace] }, apply, options);
}

export async function read({ Factwire }, { url, namespace }) {
  const found = [];
  for await (const { position, payload } of new Factwire(url).read({ namespaces: [namespace] })) found.push([position, payload.n]);
  return found;
}

export async function pages({ Factwire, Json }, { url, namespace }) {
  const log = new Factwire(url);
  const ids = Array.from({ length: 600 }, (_, n) => `order-${n}`);
  await log.publishAll(ids.map((id, n) => ({ namespace, type: "Counted", payload: { n }, aggregate_ids: [id] })));
  const many = ids.slice(0, 90).map((id) => ({ namespaces: [namespace], aggregate_ids: [id] })), read = [], newest = [], followed = [];
  for await (const fact of log.read(many)) read.push(fact.payload.n);
  for await (const fact of log.read({ namespaces: [namespace] }, { newestFirst: true })) newest.push(fact.payload.n);
  for await (const fact of log.follow(many, { untilCaughtUp: true })) followed.push(fact.payload.n);
  const { facts: [first] } = await log.page(many[0]);
  const same = (await log.fact(first.id)).position === first.position && (await log.position()).head >= first.position;
  const exact = await log.publish(namespace, "Exact", new Json('{ "total": 1.50 }'));
  for await (const { data, cursor } of log.events(undefined, { after: exact.position - 1 })) return [read, newest, followed, same, data, cursor === exact.cursor];
}

export async function follow({ Factwire }, { url, direct, namespace, options }) {
  const publisher = new Factwire(direct), log = new Factwire(url, options), seen = [];
  const fact = (n) => ({ namespace, type: "Counted", payload: { n, text: "\u2028\n\n" + "x".repeat(300) } });
  await publisher.publishAll(Array.from({ length: 20 }, (_, n) => fact(n)));
  for await (const { payload } of log.follow({ namespaces: [namespace] })) {
    seen.push(payload.n);
    if (seen.length === 20) for (let n = 20; n < 30; n++) await publisher.publishAll([fact(n)]);
    if (seen.length === 30) return seen;
  }
}

export async function leave({ Factwire }, { url }) {
  const controller = new AbortController(), reason = new Error("left");
  setTimeout(() => controller.abort(reason), 100);
  try {
    for await (const _ of new Factwire(url).follow(undefined, { after: "head", signal: controller.signal }));
  } catch (error) {
    return error === reason;
  }
}

export async function followFrom({ Factwire }, { url, after, untilCaughtUp }) {
  for (;;) {
    for await (const _ of new Factwire(url).follow(undefined, { after, untilCaughtUp }));
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

export async function decide({ Factwire }, { url, namespace }) {
  const log = new Factwire(url), query = { namespaces: [namespace], aggregate_ids: ["counter"] };
  const oneMore = (facts) => ({ namespace, type: "Counted", payload: { n: facts.length }, aggregate_ids: ["counter"] });
  await Promise.all(Array.from({ length: 6 }, () => log.decide(query, oneMore, { attempts: 50 })));
}

export async function decideOfMany({ Factwire }, { url, namespace }) {
  await new Factwire(url).decide({ namespaces: [namespace] }, () => null, { factsMax: 0 });
}

export async function missing({ Factwire }, { url, id }) {
  await new Factwire(url).fact(id);
}

export async function misspelt({ Factwire }, { url }) {
  await new Factwire(url).publish("not a name", "A", {});
}

export async function noList({ Factwire }, { url }) {
  await new Factwire(url).page({ types: "A" });
}

export async function anonymous({ Factwire }, { url, options }) {
  await new Factwire(url, options).position();
}

export async function withTickets({ Factwire }, { url, key }) {
  const log = new Factwire(url, { key: async () => key }), page = new Factwire(url), query = { namespaces: ["shop"] }, seen = [];
  for (let n = 0; n < 3; n++) await log.publish("shop", "OrderPlaced", { n });
  let tickets = 0;
  const ticket = () => (tickets++, log.ticket(query));
  for await (const fact of page.follow(query, { ticket })) {
    seen.push(fact.payload.n);
    if (seen.length === 3) setTimeout(() => log.publish("shop", "OrderPlaced", { n: 3 }), 2500);
    if (seen.length === 4) return [seen, tickets > 1];
  }
}

export async function withTicketsOfAServer({ Factwire }, { url, key }) {
  const log = new Factwire(url, { key }), page = new Factwire(url), query = { namespaces: ["shop"] }, states = [];
  await log.publish("shop", "OrderPlaced", {});
  const answers = [() => new Response("busy", { status: 503 }), () => new Response("fwt_used"), async () => new Response(await log.ticket(query))];
  const ticket = () => answers.shift()();
  for await (const fact of page.follow(query, { ticket, onState: (state, error) => states.push([state, error?.status ?? 0]) })) return [fact.type, states];
}

export async function withRefusedTickets({ Factwire }, { url, answers }) {
  const ticket = () => new Response("no", { status: answers.shift() });
  for await (const _ of new Factwire(url).follow(undefined, { ticket }));
}

export async function withTicketThatIsText({ Factwire }, { url }) {
  for await (const _ of new Factwire(url).follow(undefined, { ticket: "fwt_once" }));
}

const failing = (add) => {
  const failures = [new Error("in the middle")];
  return async (target, fact) => {
    await add(target, fact.payload.n);
    if (fact.payload.n === 3 && failures.length) throw failures.pop();
  };
};

async function project({ Factwire, TakenOver }, { url, namespace }, view, other, add, rows) {
  const log = new Factwire(url), query = { namespaces: [namespace] }, apply = failing(add), caught = [];
  const run = (target) => log.project(target, query, apply, { untilCaughtUp: true });
  await run(view).catch((error) => caught.push(error.message));
  const before = await rows();
  await run(view);
  const stale = await view.cursor();
  await other.cursor();
  await other.moved(`${stale}9`, async () => undefined);
  await view.moved(`${stale}8`, async () => undefined).catch((error) => caught.push(error instanceof TakenOver));
  return [before, await rows(), caught];
}

export async function projectIntoFile(client, given) {
  const view = new client.FileView(given.path, { seen: [] }), other = new client.FileView(given.path, { seen: [] });
  return project(client, given, view, other, async (state, n) => { state.seen.push(n); }, async () => view.state.seen);
}

export async function projectIntoSqlite(client, given) {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(":memory:");
  database.exec("create table seen (n integer)");
  const add = async (target, n) => { target.prepare("insert into seen values (?)").run(n); };
  const rows = async () => database.prepare("select n from seen order by n").all().map(({ n }) => n);
  return project(client, given, new client.SqliteView(database, "seen"), new client.SqliteView(database, "seen"), add, rows);
}

export async function projectIntoPostgres(client, given) {
  const { default: { Client } } = await import("pg");
  const [one, another] = [new Client(given.database), new Client(given.database)];
  for (const each of [one, another]) await each.connect();
  await one.query("create table seen (n integer)");
  const add = async (target, n) => { await target.query("insert into seen values ($1)", [n]); };
  const rows = async () => (await another.query("select n from seen order by n")).rows.map(({ n }) => n);
  return project(client, given, new client.PgView(one, "seen"), new client.PgView(another, "seen"), add, rows);
}

const open = (name) => new Promise((found, failed) => {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => ["seen", "factwire_cursors"].forEach((store) => opening.result.createObjectStore(store));
  Object.assign(opening, { onsuccess: () => found(opening.result), onerror: () => failed(opening.error) });
});

export async function projectIntoIndexedDb(client, given) {
  const database = await open(given.namespace);
  const view = new client.IndexedDbView(database, "seen", ["seen"]), other = new client.IndexedDbView(database, "seen", ["seen"]);
  const rows = () => new Promise((found) => {
    database.transaction("seen").objectStore("seen").getAll().onsuccess = ({ target }) => found(target.result);
  });
  const add = (both, n) => { both.objectStore("seen").add(n, n); };
  return project(client, given, view, other, add, rows);
}

async function shop(log, namespace, orders, rules) {
  await log.subscribe(namespace, { namespaces: [namespace] }, { start: "start", ...rules });
  await log.publishAll(orders.map((order) => ({ namespace, type: "Placed", payload: {}, aggregate_ids: [order] })));
}

const statusOf = async (url, name) => (await fetch(`${url}/v1/subscriptions/${name}`)).json();

export async function work({ Factwire, Park, Retry }, { url, namespace }) {
  const log = new Factwire(url), seen = [], errors = [];
  await shop(log, namespace, ["a", "parked", "later", "wrong", "a"], { max_attempts: 2, backoff: { first_seconds: 0 } });
  const handle = async ({ fact, attempt }) => {
    const [order] = fact.aggregate_ids;
    seen.push([order, attempt]);
    if (order === "parked") throw new Park("no such customer");
    if (order === "later" && attempt === 1) throw new Retry("closed", 0);
    if (order === "wrong") throw new RangeError("secret: 4711");
  };
  await log.work(namespace, handle, { untilCaughtUp: true, onError: (error) => errors.push(error.message) });
  const { facts } = await (await fetch(`${url}/v1/subscriptions/${namespace}/parked`)).json();
  return [seen, errors, facts.map(({ reason, attempts }) => [reason, attempts]), await statusOf(url, namespace)];
}

export async function workAndPublish({ Factwire, LeaseLost, derivedId }, { url, namespace }) {
  const log = new Factwire(url), told = [];
  await shop(log, namespace, ["a"]);
  await log.work(namespace, async (claimed) => {
    const rest = { id: await derivedId(claimed.fact, "sent"), acknowledge: claimed };
    told.push((await log.publish(`${namespace}-out`, "Sent", {}, rest)).acknowledged);
    await log.publish(`${namespace}-out`, "Sent", {}, { acknowledge: claimed }).catch((error) => told.push(error instanceof LeaseLost));
  }, { untilCaughtUp: true });
  return told;
}

export async function workSlowly({ Factwire }, { url, namespace }) {
  const log = new Factwire(url), stop = new AbortController(), seen = [];
  await shop(log, namespace, ["a", "b", "c"], { ack_timeout_seconds: 1 });
  const handle = async ({ fact, attempt }) => {
    seen.push([fact.aggregate_ids[0], attempt]);
    await new Promise((wake) => setTimeout(wake, 2500)); // longer than the lease
    stop.abort();
  };
  await log.work(namespace, handle, { signal: stop.signal });
  return [seen, await statusOf(url, namespace)];
}
