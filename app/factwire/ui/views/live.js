// The live tail: new facts as they come, filtered here, so that all tabs share one stream.
import { curl, curlButton } from "../api.js";
import { count, h, say } from "../dom.js";
import { row, table } from "../facts.js";
import { factOf } from "../json.js";
import { followTogether } from "../live.js";
import { matches, parametersOf, parse } from "../query.js";

const ROWS_MAX = 200;
const WAITING_MAX = 1000; // while paused, or between two paints; beyond that, facts are only counted
const RATE_SECONDS = 5;

export default {
  title: "Live",
  label: "Live",
  key: "l",
  async render(main, argument, given) {
    let items = parse(given.get("q") ?? "");
    let paused = false, waiting = [], passed = 0, seen = 0, painting = false;
    const arrivals = [];

    const facts = table("Facts as they are published, newest first", []);
    const body = facts.querySelector("tbody");
    const state = h("b", { id: "state" }, "connecting"), rate = h("b", { id: "rate" }, "0"), total = h("b", { id: "seen" }, "0");
    const wrong = h("span", { class: "bad", role: "alert" });
    const filter = h("input", { id: "filter", type: "search", value: given.get("q") ?? "", spellcheck: "false", autocomplete: "off",
      placeholder: "every fact", oninput: () => {
        try { items = parse(filter.value); wrong.textContent = ""; } catch (error) { wrong.textContent = error.message; return; }
        history.replaceState(null, "", filter.value.trim() ? `#/live?${new URLSearchParams({ q: filter.value.trim() })}` : "#/live");
      } });
    const pause = h("button", { id: "pause", type: "button", "aria-pressed": "false", onclick: () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Resume" : "Pause";
      say(paused ? "Paused." : "Resumed.");
      paint();
    } }, "Pause");
    const clear = h("button", { type: "button", onclick: () => { body.replaceChildren(); } }, "Clear");

    const paint = () => {
      painting = false;
      total.textContent = count(seen);
      if (paused) { pause.textContent = `Resume (${count(waiting.length + passed)} new)`; return; }
      for (const old of body.querySelectorAll(".fresh")) old.classList.remove("fresh");
      body.prepend(...waiting.splice(0).slice(-ROWS_MAX).reverse().map((fact) => row(fact, { class: "fresh" })));
      passed = 0;
      while (body.childElementCount > ROWS_MAX) body.lastElementChild.remove();
    };
    const onFact = (text) => {
      arrivals.push(performance.now());
      const fact = factOf(text);
      if (!matches(items, fact)) return;
      seen++;
      waiting.push(fact);
      if (waiting.length > WAITING_MAX) { waiting.shift(); passed++; }
      if (!painting) { painting = true; requestAnimationFrame(paint); }
    };
    const ticking = setInterval(() => {
      const now = performance.now();
      while (arrivals.length && arrivals[0] < now - RATE_SECONDS * 1000) arrivals.shift();
      rate.textContent = (arrivals.length / RATE_SECONDS).toFixed(1);
    }, 500);
    const following = followTogether({ onFact, onState: (text) => { state.textContent = text; } });

    main.append(h("h1", {}, "Live"),
      h("div", { class: "row" }, h("div", { class: "grow" }, h("label", { for: "filter" }, "Filter"), filter), pause, clear,
        curlButton(() => curl(`/v1/stream?${new URLSearchParams([["after", "head"], ...parametersOf(items)])}`, { stream: true }))),
      h("p", {}, "State: ", state, " · ", rate, " facts a second · ", total, " matched ", wrong), facts);
    return () => { clearInterval(ticking); following.end(); };
  },
};
