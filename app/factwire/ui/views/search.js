// Search: a query, from the newest fact back, as of now, of a position or of a date.
import { ask, askJson, curl, curlButton, problem } from "../api.js";
import { count, h } from "../dom.js";
import { link, row, table } from "../facts.js";
import { pageOf } from "../json.js";
import { parametersOf, parse } from "../query.js";

const LIMIT = "50";

export default {
  title: "Search",
  label: "Search",
  key: "s",
  async render(main, argument, given) {
    const q = given.get("q") ?? "", until = given.get("until") ?? "", order = given.get("order") === "asc" ? "asc" : "desc";
    main.append(h("h1", {}, "Search"), form(q, given.get("at") ?? until, order));
    try {
      await renderFound(main, q, until, given.get("at") ?? "", order, given.get("after") ?? "");
    } catch (error) {
      main.append(problem(error));
    }
  },
};

function form(q, at, order) {
  const input = h("input", { id: "query", type: "search", value: q, spellcheck: "false", autocomplete: "off",
    placeholder: "namespace=shop type=OrderPlaced aggregate_id=order-1 meta=tenant:a" });
  const moment = h("input", { id: "moment", value: at, placeholder: "now", autocomplete: "off" });
  const from = h("select", { id: "order" }, h("option", { value: "desc", selected: order === "desc" }, "newest first"),
    h("option", { value: "asc", selected: order === "asc" }, "oldest first"));
  const submit = (event) => {
    event.preventDefault();
    location.hash = link("search", { q: input.value.trim(), at: moment.value.trim(), order: from.value === "asc" && "asc" });
  };
  return h("form", { class: "row", onsubmit: submit },
    h("div", { class: "grow" }, h("label", { for: "query" }, "Query"), input),
    h("div", {}, h("label", { for: "moment" }, "Up to a position or a date"), moment),
    h("div", {}, h("label", { for: "order" }, "Order"), from),
    h("button", { class: "main" }, "Search"));
}

async function renderFound(main, q, until, at, order, after) {
  const parameters = parametersOf(parse(q));
  parameters.set("limit", LIMIT);
  parameters.set("order", order);
  const end = until || (at && await positionOf(at));
  if (end) parameters.set("until", end);
  if (after) parameters.set("after", after);
  const path = `/v1/facts?${parameters}`;
  const page = pageOf(await ask(path));
  const last = page.caught_up ? "" : order === "desc" ? page.until : page.cursor;
  const more = link("search", { q, at, order: order === "asc" && "asc", [order === "desc" ? "until" : "after"]: last });
  main.append(
    h("div", { class: "row" },
      h("span", { class: "quiet" }, `${count(page.facts.length)} ${page.facts.length === 1 ? "fact" : "facts"}${page.caught_up ? ", no more" : ""}; the head is at `
        + `${count(page.head)}`),
      h("a", { href: link("live", { q }) }, "Follow this"),
      h("span", { class: "right" }, curlButton(() => curl(path)))),
    page.facts.length ? table("Facts that match", page.facts.map((fact) => row(fact))) : h("p", {}, "Nothing matches here."),
    page.caught_up ? "" : h("p", {}, h("a", { href: more }, order === "desc" ? "Older facts" : "Newer facts")));
}

// A position stands for itself. A date may be a day, or a time; without an offset it is UTC.
async function positionOf(text) {
  if (/^(\d+|\d+:\d+)$/.test(text)) return text;
  const day = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00` : text.replace(" ", "T");
  const time = new Date(/(Z|[+-]\d\d:\d\d)$/.test(day) ? day : `${day}Z`);
  if (Number.isNaN(time.getTime())) throw new Error(`${text}: write a position, or a date such as 2026-01-31 12:00`);
  return (await askJson(`/v1/position?at=${time.toISOString()}`)).cursor;
}
