// Subscriptions, and of one its parked facts, which those who may work on it can replay and discard.
import { ask, askJson, curl, curlButton } from "../api.js";
import { count, h, say, when } from "../dom.js";
import { link } from "../facts.js";

const COUNTS = [["in_flight", "In flight"], ["ready", "Ready"], ["held", "Held"], ["delayed", "Delayed"], ["parked", "Parked"]];
const again = () => dispatchEvent(new Event("hashchange"));
const pathOf = (name) => `/v1/subscriptions/${encodeURIComponent(name)}`;

export default {
  title: "Subscriptions",
  label: "Subscriptions",
  key: "u",
  async render(main, name, parameters) {
    await (name ? renderOne(main, name, parameters.get("after") ?? "0") : renderAll(main, parameters.get("after") ?? ""));
  },
};

async function renderAll(main, after) {
  const path = `/v1/subscriptions?limit=50&after=${encodeURIComponent(after)}`;
  const { subscriptions, next } = await askJson(path);
  const rows = subscriptions.map((each) => h("tr", {},
    h("td", {}, h("a", { href: link(`subscriptions/${encodeURIComponent(each.name)}`) }, each.name)), h("td", {}, stateText(each)), h("td", {}, lagText(each)),
    COUNTS.map(([member]) => h("td", { class: "count" }, count(each[member])))));
  main.append(h("h1", {}, "Subscriptions"), tools(path),
    subscriptions.length ? table("Subscriptions", ["Name", "State", "Lag"], COUNTS.map(([, title]) => title), rows) : h("p", {}, "There is no subscription that you may see."),
    next !== null && h("p", {}, h("a", { href: link("subscriptions", { after: next }) }, "More")));
}

async function renderOne(main, name, after) {
  const status = await askJson(pathOf(name));
  const members = [["State", stateText(status)], ["Position", `${count(status.position)} of ${count(status.head)}`], ["Lag", lagText(status)],
    ["Order", status.ordering], ["Query", h("code", {}, JSON.stringify(status.query))], ...COUNTS.map(([member, title]) => [title, count(status[member])]),
    ...status.workers.map(({ worker, in_flight, seen_at }) => [`Worker ${worker}`, [`${count(in_flight)} in flight`, seen_at && [", seen ", when(seen_at)]]])];
  const turn = status.state === "active" ? "pause" : "resume";
  main.append(h("h1", {}, name), tools(pathOf(name), action(turn === "pause" ? "Pause" : "Resume", `${pathOf(name)}/${turn}`, turn === "pause" ? {} : undefined)),
    h("dl", {}, members.flatMap(([title, value]) => [h("dt", {}, title), h("dd", {}, value)])), h("h2", {}, "Parked facts"));
  if (!status.parked) main.append(h("p", {}, "No fact is parked."));
  else main.append(...(await parked(name, after)));
}

async function parked(name, after) {
  const path = `${pathOf(name)}/parked`;
  const { facts, next } = await askJson(`${path}?limit=50&after=${encodeURIComponent(after)}`);
  const rows = facts.map(({ fact, attempts, reason, worker, parked_at, held_behind }) => h("tr", {},
    h("td", {}, h("a", { href: link(`fact/${fact.id}`) }, `${fact.namespace}/${fact.type}`)), h("td", {}, fact.aggregate_ids.join(" ")),
    h("td", {}, reason ?? ""), h("td", {}, worker ?? ""), h("td", { class: "when" }, when(parked_at)),
    h("td", {}, ["replay", "discard"].map((what) => [action(title(what), `${path}/${what}`, { positions: [fact.position] }), " "])),
    h("td", { class: "count" }, count(attempts)), h("td", { class: "count" }, count(held_behind))));
  return [h("div", { class: "row" }, ["replay", "discard"].map((what) => action(`${title(what)} all`, `${path}/${what}`, {}, `${title(what)} all parked facts of ${name}?`))),
    table("Parked facts", ["Fact", "About", "Reason", "Worker", "Since", "Do"], ["Attempts", "Behind it"], rows),
    next !== null && h("p", {}, h("a", { href: link(`subscriptions/${encodeURIComponent(name)}`, { after: next }) }, "More"))].filter(Boolean);
}

// A button that changes something, and shows what became of it.
function action(text, path, body, question) {
  return h("button", { type: "button", onclick: async () => {
    if (question && !confirm(question)) return;
    const options = { method: "POST", ...(body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } }) };
    try {
      await ask(path, options);
      again();
    } catch (error) {
      say(error.message);
      document.getElementById("main").prepend(h("p", { class: "problem", role: "alert" }, error.message));
    }
  } }, text);
}

const tools = (path, ...more) => h("div", { class: "row" }, h("button", { type: "button", onclick: again }, "Look again"), more,
  h("span", { class: "right" }, curlButton(() => curl(path))));

const table = (name, columns, counts, rows) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, h("table", {},
  h("caption", { class: "hidden" }, name),
  h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)), counts.map((column) => h("th", { scope: "col", class: "count" }, column)))),
  h("tbody", {}, rows)));

const title = (text) => text[0].toUpperCase() + text.slice(1);
const stateText = ({ state, reason, limited }) => [state, reason && `: ${reason}`, limited && " (limited)"].filter(Boolean).join("");
const lagText = ({ lag }) => {
  const seconds = lag.seconds ? `, ${count(Math.round(lag.seconds))} s` : "";
  return lag.caught_up ? `caught up${seconds}` : `${count(lag.positions)} positions${seconds}`;
};
