// A project's own tests on the testing kit, in Vitest.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { Park } from "../../../clients/typescript/dist/index.js";
import { Facts, startFactwire } from "../../../clients/typescript/dist/testing.js";

let server, facts;
beforeAll(async () => { server = await startFactwire(); });
afterAll(() => server?.stop());
beforeEach(() => { facts = new Facts(server.url); });

test("a worker handles what was published", async () => {
  for (const n of [1, 2]) await facts.given("OrderPlaced", n, { aggregate_ids: [`order-${n}`] });
  const bill = async (claimed) => {
    if (claimed.fact.payload === 2) throw new Park("closed");
    await facts.log.publish(facts.namespace, "InvoiceSent", claimed.fact.payload, { acknowledge: claimed });
  };
  await facts.work(bill, { namespaces: [facts.namespace], types: ["OrderPlaced"] });
  expect((await facts.published()).filter(({ type }) => type === "InvoiceSent").map(({ payload }) => payload)).toEqual([1]);
  await expect(facts.work(() => { throw new RangeError("no"); })).rejects.toThrow(RangeError);
});

test("given facts are there", async () => {
  await facts.given("OrderPlaced", { total: 5 }, { aggregate_ids: ["order-1"] });
  expect((await facts.published()).map(({ namespace, payload }) => [namespace, payload])).toEqual([[facts.namespace, { total: 5 }]]);
});

test("facts of other tests are not seen", async () => {
  expect(await facts.published()).toEqual([]);
});

test("a follower is waited for", async () => {
  let cursor = "start";
  await facts.given("OrderPlaced");
  const controller = new AbortController();
  const following = (async () => {
    for await (const event of facts.log.events(undefined, { signal: controller.signal })) cursor = event.cursor;
  })().catch(() => undefined);
  await facts.waitUntilCaughtUp(() => cursor);
  controller.abort();
  await following;
  await expect(facts.waitUntilCaughtUp(() => "start", 100)).rejects.toThrow("not within 0.1 seconds");
});

test("a server that does not start says why", async () => {
  await expect(startFactwire({ settings: { FACTWIRE_WORKERS: "2" } })).rejects.toThrow("one process");
});
