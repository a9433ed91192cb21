// Facts as rows, in full, and as links.
import { h, when } from "./dom.js";
import { pretty } from "./json.js";
import { term } from "./query.js";

const PREVIEW_LENGTH = 300;

export const link = (route, parameters = {}) => {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  return `#/${route}${query.size ? `?${query}` : ""}`;
};
export const factLink = (fact, ...content) => h("a", { href: link(`fact/${fact.id}`) }, content);
export const aggregateLink = (id) => h("a", { href: link(`aggregate/${encodeURIComponent(id)}`) }, id);
export const typeLink = (fact) => h("a", { href: link("search", {
  q: `${term("namespace", fact.namespace)} ${term("type", fact.type)}` }) }, `${fact.namespace}/${fact.type}`);

const listed = (elements) => elements.flatMap((element, at) => (at ? [", ", element] : [element]));

export const metaLinks = (meta) => listed(Object.entries(meta).flatMap(([key, values]) => [values].flat().map((value) =>
  h("a", { href: link("search", { q: term("meta", `${key}:${value}`) }) }, `${key}:${value}`))));

export const aggregateLinks = (fact) => listed(fact.aggregate_ids.map(aggregateLink));

export const row = (fact, attributes = {}) => h("tr", attributes,
  h("td", { class: "count" }, factLink(fact, fact.position)),
  h("td", { class: "when" }, when(fact.published_at)),
  h("td", {}, typeLink(fact), fact.version > 1 && h("span", { class: "quiet" }, ` v${fact.version}`)),
  h("td", {}, aggregateLinks(fact)),
  h("td", { class: "wide" }, h("code", { class: "payload" }, preview(fact))));

export const table = (caption, rows) => h("div", { class: "scroll" }, h("table", { class: "facts" },
  h("caption", { class: "hidden" }, caption),
  h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "count" }, "Position"), h("th", { scope: "col" }, "Published"),
    h("th", { scope: "col" }, "Type"), h("th", { scope: "col" }, "Aggregate ids"), h("th", { scope: "col" }, "Payload"))),
  h("tbody", {}, rows)));

export function preview(fact) {
  const gone = fact.erased ? "erased" : fact.redacted ? "redacted" : "";
  return gone || (fact.payload.length > PREVIEW_LENGTH ? `${fact.payload.slice(0, PREVIEW_LENGTH)}…` : fact.payload);
}

export const json = (text, label) => h("pre", { tabindex: "0", "aria-label": label },
  [...pretty(text)].map(([piece, kind]) => (kind ? h("span", { class: kind }, piece) : piece)));
