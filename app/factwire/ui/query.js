// The query language of the page: the parameters of the API, with OR between items; or the JSON of a query.
//
//   namespace=shop type=OrderPlaced aggregate_id=order-1 meta=tenant:a OR aggregate_id="with blanks"

const PARTS = { namespace: "namespaces", type: "types", aggregate_id: "aggregate_ids", meta: "meta" };

// The items of a query. Throws an error that names the mistake.
export function parse(text) {
  const given = text.trim();
  if (given.startsWith("{")) return JSON.parse(given).items ?? [];
  if (!given) return [];
  const items = [{}];
  for (const [, name, value, other] of given.matchAll(/([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)|(\S+)/g)) {
    if (other === "OR") items.push({});
    else if (other !== undefined) throw new Error(`${other}: write name=value; names are ${Object.keys(PARTS).join(", ")}`);
    else add(items.at(-1), name, value.startsWith('"') ? JSON.parse(value) : value);
  }
  return items;
}

function add(item, name, value) {
  if (!Object.hasOwn(PARTS, name)) throw new Error(`${name}: names are ${Object.keys(PARTS).join(", ")}`);
  if (name !== "meta") { (item[PARTS[name]] ??= []).push(value); return; }
  const colon = value.indexOf(":");
  if (colon < 1) throw new Error(`meta=${value}: write meta=key:value`);
  // Without a prototype: a key may be called `constructor`.
  ((item.meta ??= Object.create(null))[value.slice(0, colon)] ??= []).push(value.slice(colon + 1));
}

// The URL parameters of these items: single parameters if one item is enough.
export function parametersOf(items) {
  const parameters = new URLSearchParams();
  if (items.length > 1) parameters.set("query", JSON.stringify({ items }));
  else {
    for (const [name, part] of Object.entries(PARTS)) {
      if (name === "meta") {
        for (const [key, values] of Object.entries(items[0]?.meta ?? {})) {
          for (const value of [values].flat()) parameters.append("meta", `${key}:${value}`);
        }
      } else for (const value of items[0]?.[part] ?? []) parameters.append(name, value);
    }
  }
  return parameters;
}

// True if a fact matches any of the items; without items, every fact matches.
export function matches(items, fact) {
  return !items.length || items.some((item) =>
    (!item.namespaces?.length || item.namespaces.includes(fact.namespace)) &&
    (!item.types?.length || item.types.includes(fact.type)) &&
    (item.aggregate_ids ?? []).every((id) => fact.aggregate_ids.includes(id)) &&
    Object.entries(item.meta ?? {}).every(([key, values]) =>
      [values].flat().every((value) => valuesOf(fact, key).includes(value))));
}

function valuesOf(fact, key) {
  return Object.hasOwn(fact.meta, key) ? [fact.meta[key]].flat() : [];
}

export const term = (name, value) => `${name}=${/[\s"]/.test(value) || value === "" ? JSON.stringify(value) : value}`;
