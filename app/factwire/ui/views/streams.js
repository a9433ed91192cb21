// Open streams of the process that answers, those with the largest lag first.
import { askJson, curl, curlButton } from "../api.js";
import { count, h, when } from "../dom.js";

export default {
  title: "Streams",
  label: "Streams",
  key: "t",
  async render(main) {
    const { open, head, streams } = await askJson("/v1/streams");
    const columns = ["Follows", "Who", "Open since", "State"];
    main.append(
      h("h1", {}, "Open streams"),
      h("div", { class: "row" }, h("span", {}, `${count(open)} in the process that answered; the head is at ${count(head)}`),
        h("button", { type: "button", onclick: () => dispatchEvent(new Event("hashchange")) }, "Look again"),
        h("span", { class: "right" }, curlButton(() => curl("/v1/streams")))),
      streams.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Open streams" }, h("table", {},
        h("caption", { class: "hidden" }, "Open streams"),
        h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)),
          h("th", { scope: "col", class: "count" }, "Position"), h("th", { scope: "col", class: "count" }, "Lag"))),
        h("tbody", {}, streams.map((stream) => h("tr", {},
          h("td", {}, stream.query ? h("code", {}, queryText(stream.query)) : "what you may not read"), h("td", {}, stream.principal), h("td", { class: "when" }, when(stream.opened_at)),
          h("td", {}, stream.caught_up ? "live" : "catching up"), h("td", { class: "count" }, count(stream.position)),
          h("td", { class: "count" }, count(stream.lag))))))) : h("p", {}, "No stream is open."));
  },
};

const queryText = ({ items }) => (items.length ? items.map((item) => JSON.stringify(Object.fromEntries(
  Object.entries(item).filter(([, part]) => Object.keys(part).length)))).join(" OR ") : "every fact");
