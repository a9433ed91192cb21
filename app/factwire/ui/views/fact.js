// A fact in full, by its id or its position.
import { ask, curl, curlButton } from "../api.js";
import { h, when } from "../dom.js";
import { aggregateLinks, json, link, metaLinks, typeLink } from "../facts.js";
import { factOf } from "../json.js";

export default {
  title: "Fact",
  async render(main, id) {
    const path = /^\d+$/.test(id) ? `/v1/facts/at/${id}` : `/v1/facts/${encodeURIComponent(id)}`;
    const fact = factOf(await ask(path));
    const members = [
      ["Position", String(fact.position)], ["Published", when(fact.published_at)], ["Id", h("code", {}, fact.id)],
      ["Type", [typeLink(fact), ` version ${fact.version}`]],
      ["Aggregate ids", fact.aggregate_ids.length ? aggregateLinks(fact) : "none"],
      ["Meta", Object.keys(fact.meta).length ? metaLinks(fact.meta) : "none"],
      ...(fact.data_subject ? [["Data subject", fact.data_subject]] : []),
    ];
    main.append(
      h("h1", {}, `${fact.namespace}/${fact.type}`),
      h("div", { class: "row" },
        fact.position > 1 && h("a", { href: link(`fact/${fact.position - 1}`) }, "Previous fact"),
        h("a", { href: link(`fact/${fact.position + 1}`) }, "Next fact"),
        h("a", { href: link("search", { at: String(fact.position) }) }, "The log up to this fact"),
        h("span", { class: "right" }, curlButton(() => curl(path)))),
      h("dl", {}, members.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("h2", {}, "Payload"),
      fact.erased || fact.redacted ? h("p", {}, `The payload was ${fact.erased ? "erased" : "redacted"}.`) : json(fact.payload, "Payload"),
      h("details", {}, h("summary", {}, "The whole fact as JSON"), json(fact.text, "The whole fact")));
  },
};
