// The timeline of one aggregate: its facts, and the time between them.
import { ask, curl, curlButton } from "../api.js";
import { h, when } from "../dom.js";
import { factLink, json, link, metaLinks, typeLink } from "../facts.js";
import { pageOf } from "../json.js";
import { term } from "../query.js";

const LIMIT = 100;
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export default {
  title: "Aggregate",
  async render(main, id, given) {
    const after = given.get("after") ?? "";
    const parameters = new URLSearchParams({ aggregate_id: id, limit: LIMIT, ...(after && { after }) });
    const path = `/v1/facts?${parameters}`;
    const page = pageOf(await ask(path));
    main.append(
      h("h1", {}, id),
      h("div", { class: "row" }, h("a", { href: link("live", { q: term("aggregate_id", id) }) }, "Follow it"),
        h("a", { href: link("search", { q: term("aggregate_id", id) }) }, "Search"),
        h("span", { class: "right" }, curlButton(() => curl(path)))),
      page.facts.length ? h("ol", { class: "timeline" }, page.facts.map((fact, at) => happening(fact, page.facts[at - 1])))
        : h("p", {}, "There are no facts about it that you may read."),
      page.caught_up ? "" : h("p", {}, h("a", { href: link(`aggregate/${encodeURIComponent(id)}`, { after: page.cursor }) }, "Later facts")));
  },
};

const happening = (fact, before) => h("li", {},
  before ? h("div", { class: "gap" }, `${gap(before, fact)} later`) : "",
  h("div", {}, factLink(fact, `#${fact.position}`), " ", h("b", {}, typeLink(fact)), " ", h("span", { class: "quiet" }, when(fact.published_at))),
  Object.keys(fact.meta).length ? h("div", {}, metaLinks(fact.meta)) : "",
  h("details", {}, h("summary", {}, "Payload"), json(fact.payload, `Payload of the fact at position ${fact.position}`)));

function gap(one, other) {
  const seconds = (new Date(other.published_at) - new Date(one.published_at)) / 1000;
  const unit = UNITS.find(([, length]) => seconds >= length);
  return unit ? `${(seconds / unit[1]).toFixed(seconds / unit[1] < 10 ? 1 : 0)} ${unit[0]}` : `${Math.round(seconds * 1000)} ms`;
}
