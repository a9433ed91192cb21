// The frame of the page: views, navigation and keyboard shortcuts.
import { learnSurroundings, problem, surroundings } from "./api.js";
import { h, say, show } from "./dom.js";
import { link } from "./facts.js";
import aggregate from "./views/aggregate.js";
import fact from "./views/fact.js";
import health from "./views/health.js";
import live from "./views/live.js";
import overview from "./views/overview.js";
import publish from "./views/publish.js";
import search from "./views/search.js";
import signIn from "./views/sign-in.js";
import streams from "./views/streams.js";
import subscriptions from "./views/subscriptions.js";

// A view is {title, key, shown(), render(main, argument, parameters)}; render may return a function that ends it. A view with a `label`
// is in the navigation, and `g` and its key open it.
const VIEWS = { "": overview, search, live, publish, streams, subscriptions, health, fact, aggregate, "sign-in": signIn };

let end = null;
let turn = 0;

async function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : VIEWS[""];
  const parameters = new URLSearchParams(query);
  end?.();
  end = null;
  const mine = ++turn;
  const main = h("div", {});
  const place = document.getElementById("main");
  try {
    const ending = await view.render(main, decodeURIComponent(rest.join("/")), parameters);
    if (mine !== turn) { ending?.(); return; }
    end = ending ?? null;
  } catch (error) {
    if (mine !== turn) return;
    main.replaceChildren(h("h1", {}, view.title), problem(error));
  }
  place.replaceChildren(main);
  document.title = `${main.querySelector("h1")?.textContent ?? view.title} · Factwire`;
  showNavigation(name);
  document.getElementById("q").value = parameters.get("q") ?? "";
  say(`${view.title} is shown.`);
}

function showNavigation(current) {
  const views = Object.entries(VIEWS).filter(([, view]) => view.label && (view.shown?.() ?? true));
  const links = views.map(([name, view]) =>
    h("a", { href: link(name), "aria-current": name === current && "page", title: `g ${view.key}` }, view.label));
  const out = h("a", { href: link("sign-in") }, "Session");
  document.getElementById("nav").replaceChildren(...links, ...(surroundings.asks_for_key ? [out] : []));
}

function help() {
  const views = Object.values(VIEWS).filter((view) => view.label && (view.shown?.() ?? true));
  const keys = [["/", "search"], ["j, k", "next and previous fact"], ["Enter", "open it"], ["c", "copy as curl"],
    ["p", "pause and resume in the live view"], ...views.map((view) => [`g ${view.key}`, view.label]), ["?", "this"]];
  show("Help", h("p", {}, "A search uses the names of the API: ", h("code", {}, "namespace=shop type=OrderPlaced aggregate_id=order-1"
    + " meta=tenant:a"), ". Several namespaces or types are alternatives; the other parts must all match. ", h("code", {}, "OR"),
    " starts another item. The JSON of a query works as well."),
  h("p", {}, "Times are UTC."), h("h2", {}, "Keys"), h("dl", {}, keys.flatMap(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)])),
  h("p", {}, h("a", { href: "/docs" }, "All operations of the API"), ` · Factwire ${surroundings.version}`));
}

function move(step) {
  const rows = [...document.querySelectorAll("tbody tr, ol.timeline li")];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at === -1 ? 0 : at + step))];
  next?.querySelector("a")?.focus();
}

let going = 0;
function press(event) {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const view = Date.now() - going < 1500 &&
    Object.entries(VIEWS).find(([, each]) => each.key === event.key && (each.shown?.() ?? true));
  going = 0;
  if (view) location.hash = link(view[0]);
  else if (event.key === "g") going = Date.now();
  else if (event.key === "/") document.getElementById("q").focus();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "c") document.querySelector("main .curl")?.click();
  else if (event.key === "p") document.getElementById("pause")?.click();
  else if (event.key === "?") help();
  else return;
  event.preventDefault();
}

addEventListener("hashchange", route);
addEventListener("keydown", press);
addEventListener("factwire-unauthenticated", () => {
  if (!location.hash.startsWith("#/sign-in")) location.hash = link("sign-in", { then: location.hash });
});
document.getElementById("help-button").addEventListener("click", help);
document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = link("search", { q: document.getElementById("q").value.trim() });
});
await learnSurroundings().catch(() => {});
await route();
