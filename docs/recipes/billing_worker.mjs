// Send an invoice for each order, once, beside other workers: node billing_worker.mjs http://127.0.0.1:8000
import { derivedId, Factwire, Park, Problem } from "@factwire/client";

const [url] = process.argv.slice(2);
const log = new Factwire(url, process.env.KEY ? { key: process.env.KEY } : {});
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort()).on("SIGINT", () => stop.abort());

async function bill(claimed) {
  const { fact: order, attempt } = claimed;
  const { total } = order.payload;
  if (typeof total !== "number") throw new Park("the order has no total");
  // The invoice and the acknowledgement are one transaction: there is no moment between them to be killed in.
  const rest = { id: await derivedId(order, "invoice"), aggregate_ids: order.aggregate_ids, acknowledge: claimed };
  await log.publish("billing", "InvoiceSent", { total, attempt }, rest);
}

try {
  await log.subscribe("billing", { namespaces: ["orders"], types: ["OrderPlaced"] }, { start: "start", ack_timeout_seconds: 5 });
  await log.work("billing", bill, { signal: stop.signal });
} catch (error) {
  console.error(error instanceof Problem ? JSON.stringify(error.members) : error);
  process.exit(1);
}
