// The scenario with the client of openapi-generator for TypeScript (typescript-fetch).
import { randomUUID } from "node:crypto";
import { Configuration, FactsApi, FetchError, ResponseError, type NewFactBody, type PublishBody } from "./client/index.js";

const tell = (step: object) => console.log(JSON.stringify(step));

const order = (number: number, type = "OrderPlaced"): NewFactBody => ({
  id: randomUUID(), namespace: "shop", type, aggregateIds: [`order-${number}`],
  meta: { tenant: "a", labels: ["x", "y"] }, payload: { number },
});

// An order that nobody has placed yet.
const once = (number: number, after: string): PublishBody => ({
  facts: [order(number)], condition: { failIfMatch: [{ aggregateIds: [`order-${number}`] }], after },
});

async function publishWithAConditionAndRetry(facts: FactsApi): Promise<void> {
  const { cursor } = await facts.getPosition();
  const publishBody = once(1, cursor);
  tell({ published: (await facts.publish({ publishBody })).position });
  try {
    await facts.publish({ publishBody: once(1, cursor) });
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    tell({ refused: (await error.response.json()).type, status: error.response.status });
  }
  tell({ replayed: (await facts.publish({ publishBody })).position });
}

async function page(facts: FactsApi): Promise<string> {
  await facts.publish({ publishBody: { facts: [2, 3, 4, 5, 6].map((number) => order(number)) } });
  const paged: number[] = [];
  let labels: unknown;
  for (let after = "start"; ;) {
    const read = await facts.read({ namespace: ["shop"], after, limit: 2 });
    paged.push(...read.facts.map((fact) => fact.position));
    labels ??= read.facts[0]?.meta.labels;
    after = read.cursor;
    if (read.caughtUp) {
      tell({ paged, labels });
      return after;
    }
  }
}

async function exportAndImport(facts: FactsApi): Promise<void> {
  const lines = await facts.exportFacts({ namespace: ["shop"] });
  const answer = await (await facts.importFacts({ body: lines })).text();
  const { result } = JSON.parse(answer.trimEnd().split("\n").at(-1)!);
  tell({ exported: (await lines.text()).trimEnd().split("\n").length, replayed_by_import: result.replayed });
}

async function follow(facts: FactsApi, after: string): Promise<void> {
  tell({ following: true });
  const followed: number[] = [];
  for (let last: string | undefined; last !== "OrdersClosed";) {
    try {
      const read = await facts.read({ namespace: ["shop"], after, waitSeconds: 20 });
      followed.push(...read.facts.map((fact) => fact.position));
      last = read.facts.at(-1)?.type;
      after = read.cursor;
    } catch (error) {
      if (!(error instanceof FetchError || error instanceof TypeError)) throw error; // cut before, or within an answer
    }
  }
  tell({ followed });
}

const [direct, throughABadNetwork] = process.argv.slice(2, 4)
  .map((basePath) => new FactsApi(new Configuration({ basePath }))) as [FactsApi, FactsApi];
await publishWithAConditionAndRetry(direct);
const cursor = await page(direct);
await exportAndImport(direct);
await follow(throughABadNetwork, cursor);
