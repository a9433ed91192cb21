// Ship what was ordered, once: node shipping_service.mjs http://127.0.0.1:8000 shipping.json
import { createHash } from "node:crypto";

import { Factwire, FileView, Problem } from "@factwire/client";

const [url, path] = process.argv.slice(2);
const log = new Factwire(url, process.env.KEY ? { key: process.env.KEY } : {});

function derived(id) {  // the UUIDv5 of "shipped" in the id of the order's fact
  const bytes = createHash("sha1").update(Buffer.from(id.replaceAll("-", ""), "hex")).update("shipped").digest();
  bytes[6] = (bytes[6] & 0x0f) | 0x50;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

async function ship(state, order) {  // every part follows from the order, so that a repetition is the same fact
  const id = derived(order.id);
  await log.publish("shipping", "OrderShipped", { parcel: `parcel-${id.slice(0, 8)}` }, { id, aggregate_ids: order.aggregate_ids });
  state.shipped += 1;
}

try {  // the state and its cursor in one file, which is replaced as a whole
  await log.project(new FileView(path, { shipped: 0 }), { namespaces: ["orders"], types: ["OrderPlaced"] }, ship);
} catch (error) {
  console.error(error instanceof Problem ? JSON.stringify(error.members) : error);
  process.exit(1);  // going on would be wrong
}
