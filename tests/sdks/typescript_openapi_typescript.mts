// The scenario with the types of openapi-typescript, and openapi-fetch.
import { randomUUID } from "node:crypto";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./client.d.ts";

type NewFact = components["schemas"]["NewFactBody"];
type Publish = components["schemas"]["PublishBody"];
type Service = Client<paths>;

const tell = (step: object) => console.log(JSON.stringify(step));

const order = (number: number, type = "OrderPlaced"): NewFact => ({
  id: randomUUID(), namespace: "shop", type, aggregate_ids: [`order-${number}`],
  meta: { tenant: "a", labels: ["x", "y"] }, payload: { number },
});

// An order that nobody has placed yet.
const once = (number: number, after: string): Publish => ({
  facts: [order(number)], condition: { fail_if_match: [{ aggregate_ids: [`order-${number}`] }], after },
});

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the service refused");
  return value;
}

async function publishWithAConditionAndRetry(service: Service): Promise<void> {
  const { cursor } = given((await service.GET("/v1/position")).data);
  const body = once(1, cursor);
  tell({ published: given((await service.POST("/v1/facts", { body })).data).position });
  const { error, response } = await service.POST("/v1/facts", { body: once(1, cursor) });
  tell({ refused: error?.type, status: response.status });
  tell({ replayed: given((await service.POST("/v1/facts", { body })).data).position });
}

async function page(service: Service): Promise<string> {
  await service.POST("/v1/facts", { body: { facts: [2, 3, 4, 5, 6].map((number) => order(number)) } });
  const paged: number[] = [];
  let labels: unknown;
  for (let after = "start"; ;) {
    const query = { namespace: ["shop"], after, limit: 2 };
    const read = given((await service.GET("/v1/facts", { params: { query } })).data);
    paged.push(...read.facts.map((fact) => fact.position));
    labels ??= read.facts[0]?.meta.labels;
    after = read.cursor;
    if (read.caught_up) {
      tell({ paged, labels });
      return after;
    }
  }
}

async function follow(service: Service, after: string): Promise<void> {
  tell({ following: true });
  const followed: number[] = [];
  for (let last: string | undefined; last !== "OrdersClosed";) {
    try {
      const query = { namespace: ["shop"], after, wait_seconds: 20 };
      const read = given((await service.GET("/v1/facts", { params: { query } })).data);
      followed.push(...read.facts.map((fact) => fact.position));
      last = read.facts.at(-1)?.type;
      after = read.cursor;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch was cut
    }
  }
  tell({ followed });
}

const [direct, throughABadNetwork] = process.argv.slice(2, 4)
  .map((baseUrl) => createClient<paths>({ baseUrl })) as [Service, Service];
await publishWithAConditionAndRetry(direct);
await follow(throughABadNetwork, await page(direct));
