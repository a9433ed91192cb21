// Overview: namespaces with their types, and the activity of the last hour.
import { askJson, curl, curlButton, problem } from "../api.js";
import { count, h, svg } from "../dom.js";
import { link } from "../facts.js";
import { term } from "../query.js";

export default {
  title: "Overview",
  label: "Overview",
  key: "o",
  async render(main) {
    const [position, { namespaces }, activity] = await Promise.all(
      ["/v1/position", "/v1/namespaces?limit=1", "/v1/activity"].map((path) => askJson(path)));
    const [{ total, facts }] = activity.series;
    main.append(
      h("div", { class: "row" }, h("h1", {}, "Contents of the log"),
        h("span", { class: "right" }, curlButton(() => curl("/v1/namespaces")))),
      h("div", { class: "cards" },
        card(count(position.head), "position of the head"),
        card(count(total), "published in the last hour")),
      h("h2", {}, "The last hour"), sparkline(facts, activity.interval),
      h("h2", {}, "Namespaces"),
      namespaces.length ? await listOf("namespaces", "/v1/namespaces", (answer) => answer.namespaces.map(namespaceOf)) : first());
  },
};

const card = (value, label) => h("div", { class: "card" }, h("b", {}, value), h("span", {}, label));

// A bar for each interval. Its label has the same figures.
function sparkline(facts, seconds) {
  const most = Math.max(1, ...facts);
  const bars = facts.map((each, at) => svg("rect", { x: at, width: 0.8, y: 40 - (40 * each) / most, height: (40 * each) / most }));
  const label = `Facts published in each of the last ${facts.length} intervals of ${seconds} seconds: at most ${count(most)},`
    + ` ${count(facts.at(-1))} in the latest.`;
  return svg("svg", { class: "spark", viewBox: `0 0 ${facts.length} 40`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...bars);
}

// Names with a typed prefix, one page at a time: there may be many thousands.
async function listOf(what, path, rowsOf, given = {}, place = h("div", {}), around = place) {
  let asked = 0;
  const more = h("button", { type: "button", hidden: true, onclick: () => show(more.dataset.after) }, "More");
  const none = h("p", { role: "status", hidden: true }, `No ${what} start with this prefix.`);
  const field = h("input", { type: "search", "aria-label": `Filter ${what} by prefix`, placeholder: `Find ${what} by prefix…`,
    oninput: () => show("") });
  async function show(after) {
    const turn = ++asked;
    let answer;
    try {
      answer = await askJson(`${path}?${new URLSearchParams({ ...given, prefix: field.value, after })}`);
    } catch (error) {
      place.replaceChildren(problem(error));
      return;
    }
    if (turn !== asked) return; // the input has changed since
    const rows = rowsOf(answer);
    if (!after) place.replaceChildren();
    place.append(...rows);
    none.hidden = rows.length > 0 || after !== "";
    more.hidden = answer.next === null;
    more.dataset.after = answer.next ?? "";
  }
  await show("");
  return h("div", {}, field, around, none, more);
}

// The types of a namespace are requested when it is opened.
function namespaceOf({ namespace, facts, last_position: last }) {
  const place = h("div", {});
  let opened = false;
  const open = async () => {
    if (!details.open || opened) return;
    opened = true;
    const body = h("tbody", {});
    const table = h("div", { class: "scroll" }, h("table", {},
      h("caption", { class: "hidden" }, `Types of ${namespace}`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Type"), h("th", { scope: "col" }, "Versions"),
        h("th", { scope: "col", class: "count" }, "Facts"), h("th", { scope: "col", class: "count" }, "Last position"))), body));
    place.append(await listOf(`types of ${namespace}`, "/v1/types", (answer) => answer.types.map((each) => h("tr", {},
      h("td", {}, h("a", { href: link("search", { q: `${term("namespace", namespace)} ${term("type", each.type)}` }) }, each.type)),
      h("td", {}, each.versions.join(", ")), h("td", { class: "count" }, count(each.facts)),
      h("td", { class: "count" }, h("a", { href: link(`fact/${each.last_position}`) }, count(each.last_position))))), { namespace }, body, table));
  };
  const details = h("details", { ontoggle: open },
    h("summary", {}, h("b", {}, namespace), ` ${count(facts)} ${facts === 1 ? "fact" : "facts"}, the last at ${count(last)}`),
    h("p", {}, h("a", { href: link("search", { q: term("namespace", namespace) }) }, `Search in ${namespace}`)), place);
  return details;
}

const first = () => h("p", {}, "There are no facts yet that you may read. Publish the first one:",
  h("pre", { tabindex: "0" }, curl("/v1/facts", { body: JSON.stringify({ facts: [
    { namespace: "shop", type: "OrderPlaced", aggregate_ids: ["order-1"], payload: { total: 12.5 } }] }) })));
