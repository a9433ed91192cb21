// Ship what was ordered, once: node shipping_service.mjs http://127.0.0.1:8000 shipping.json
import { derivedId, Factwire, FileView, Problem } from "@factwire/client";

const [url, path] = process.argv.slice(2);
const log = new Factwire(url, { giveUpAfterMs: Infinity, ...(process.env.KEY ? { key: process.env.KEY } : {}) });

async function ship(state, order) {  // every part follows from the order, so that a repetition is the same fact
  const id = await derivedId(order, "shipped");
  await log.publish("shipping", "OrderShipped", { parcel: `parcel-${id.slice(0, 8)}` }, { id, aggregate_ids: order.aggregate_ids });
  state.shipped += 1;
}

try {  // the state and its cursor in one file, which is replaced as a whole
  await log.project(new FileView(path, { shipped: 0 }), { namespaces: ["orders"], types: ["OrderPlaced"] }, ship);
} catch (error) {
  console.error(error instanceof Problem ? JSON.stringify(error.members) : error);
  process.exit(1);  // going on would be wrong
}
