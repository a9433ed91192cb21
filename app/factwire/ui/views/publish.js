// Publish a fact from a form: only if the service is reachable from this machine alone.
import { askJson, curl, curlButton, problem, surroundings } from "../api.js";
import { h } from "../dom.js";
import { link } from "../facts.js";

const FIELDS = [["namespace", "Namespace", "shop"], ["type", "Type", "OrderPlaced"],
  ["aggregate_ids", "Aggregate ids, comma-separated", "order-1"], ["meta", "Meta, key:value, comma-separated", ""]];

const listed = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

export default {
  title: "Publish",
  label: "Publish",
  key: "p",
  shown: () => surroundings.publishes,
  async render(main) {
    if (!surroundings.publishes) throw new Error("Publishing from this page is for development, on a service without authentication.");
    const inputs = Object.fromEntries(FIELDS.map(([name, , value]) => [name, h("input", { id: name, value, autocomplete: "off" })]));
    const payload = h("textarea", { id: "payload", spellcheck: "false" }, '{"total": 12.5}');
    const answer = h("div", { id: "answer" });
    // The payload is sent as it was typed: the JSON of the request is built around it.
    const body = () => {
      JSON.parse(payload.value);
      const meta = Object.create(null); // a key may be called `constructor`
      for (const pair of listed(inputs.meta.value)) (meta[pair.split(":")[0]] ??= []).push(pair.slice(pair.indexOf(":") + 1));
      const fact = { namespace: inputs.namespace.value.trim(), type: inputs.type.value.trim(),
        aggregate_ids: listed(inputs.aggregate_ids.value), meta };
      return `{"facts":[${JSON.stringify(fact).slice(0, -1)},"payload":${payload.value.trim()}}]}`;
    };
    const submit = async (event) => {
      event.preventDefault();
      try {
        const content = body();
        const result = await askJson("/v1/facts", { method: "POST", headers: { "content-type": "application/json" }, body: content });
        answer.replaceChildren(h("p", { class: "good", role: "status" }, "Published at position ",
          h("a", { href: link(`fact/${result.facts[0].id}`) }, String(result.position)), "."));
      } catch (error) {
        answer.replaceChildren(problem(error));
      }
    };
    const safely = () => { try { return body(); } catch { return ""; } };
    main.append(h("h1", {}, "Publish a fact"),
      h("form", { onsubmit: submit },
        FIELDS.map(([name, label]) => [h("label", { for: name }, label), inputs[name]]),
        h("label", { for: "payload" }, "Payload, any JSON"), payload,
        h("div", { class: "row" }, h("button", { class: "main" }, "Publish"), curlButton(() => curl("/v1/facts", { body: safely() })))),
      answer);
  },
};
