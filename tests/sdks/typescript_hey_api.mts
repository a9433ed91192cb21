// The scenario with the client of hey-api/openapi-ts, which follows the stream itself.
import { randomUUID } from "node:crypto";
import { createClient, type Client } from "./client/client/index.js";
import { follow, getPosition, publish, read } from "./client/sdk.gen.js";
import type { Fact, NewFactBody, PublishBody } from "./client/types.gen.js";

const tell = (step: object) => console.log(JSON.stringify(step));

const order = (number: number): NewFactBody => ({
  id: randomUUID(), namespace: "shop", type: "OrderPlaced", aggregate_ids: [`order-${number}`],
  meta: { tenant: "a", labels: ["x", "y"] }, payload: { number },
});

// An order that nobody has placed yet.
const once = (number: number, after: string): PublishBody => ({
  facts: [order(number)], condition: { fail_if_match: [{ aggregate_ids: [`order-${number}`] }], after },
});

async function publishWithAConditionAndRetry(client: Client): Promise<void> {
  const { cursor } = (await getPosition({ client, throwOnError: true })).data;
  const body = once(1, cursor);
  tell({ published: (await publish({ client, body, throwOnError: true })).data.position });
  const { error, response } = await publish({ client, body: once(1, cursor) });
  tell({ refused: error?.type, status: response?.status });
  tell({ replayed: (await publish({ client, body, throwOnError: true })).data.position });
}

async function page(client: Client): Promise<string> {
  await publish({ client, body: { facts: [2, 3, 4, 5, 6].map(order) }, throwOnError: true });
  const paged: number[] = [];
  let labels: unknown;
  for (let after = "start"; ;) {
    const query = { namespace: ["shop"], after, limit: 2 };
    const { data } = await read({ client, query, throwOnError: true });
    paged.push(...data.facts.map((fact) => fact.position));
    labels ??= data.facts[0]?.meta.labels;
    after = data.cursor;
    if (data.caught_up) {
      tell({ paged, labels });
      return after;
    }
  }
}

async function followTheStream(client: Client, after: string): Promise<void> {
  tell({ following: true });
  const followed: number[] = [];
  for (let last: string | undefined; last !== "OrdersClosed";) { // a stream ends cleanly from time to time
    let named: string | undefined;
    const { stream } = await follow({
      client, query: { namespace: ["shop"], after }, sseMaxRetryDelay: 2000,
      onSseEvent: ({ event, id }) => { named = event; after = id ?? after; },
    });
    for await (const fact of stream) {
      if (named !== undefined) continue; // caught-up, position or problem
      followed.push(fact.position);
      last = fact.type;
      if (last === "OrdersClosed") break;
    }
  }
  tell({ followed });
}

const [direct, throughABadNetwork] = process.argv.slice(2, 4)
  .map((baseUrl) => createClient({ baseUrl })) as [Client, Client];
await publishWithAConditionAndRetry(direct);
await followTheStream(throughABadNetwork, await page(direct));
process.exit(0);
