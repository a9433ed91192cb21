// Requests to the service, and the same requests as shell commands.
import { h, say, show } from "./dom.js";

const SECONDS = 30;

export class Problem extends Error {
  constructor(status, answer) {
    super(answer.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.answer = answer;
  }
}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(SECONDS * 1000), ...options });
  } catch {
    throw new Problem(0, { title: "The service cannot be reached.", detail: "The service cannot be reached." });
  }
  const text = await response.text();
  if (response.ok) return text;
  let answer = {};
  try { answer = JSON.parse(text); } catch { /* a proxy's own page */ }
  if (response.status === 401) dispatchEvent(new Event("factwire-unauthenticated"));
  throw new Problem(response.status, answer);
}

export const askJson = async (path, options) => JSON.parse(await ask(path, options));

export const problem = (error) => h("div", { class: "problem", role: "alert" },
  h("p", {}, h("b", {}, error.answer?.title ?? "The request failed.")),
  error.message !== error.answer?.title && h("p", {}, error.message),
  h("ul", {}, (error.answer?.errors ?? []).map((each) => h("li", {}, `${each.pointer ?? each.parameter ?? ""} ${each.detail}`))));

export let surroundings = { version: "", asks_for_key: false, publishes: false };

export async function learnSurroundings() {
  surroundings = await askJson("/ui/surroundings.json");
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// The shell command of the same request. It contains no key: the page does not have it.
export function curl(path, { body, stream = false } = {}) {
  const key = surroundings.asks_for_key ? ' -H "authorization: Bearer $FACTWIRE_KEY"' : "";
  const content = body === undefined ? "" : ` -H 'content-type: application/json' -d ${quoted(body)}`;
  return `curl ${stream ? "-N " : ""}${quoted(location.origin + path)}${key}${content}`;
}

// A button that copies the command, and shows it if the browser does not let the page copy. `c` presses it.
export function curlButton(command) {
  const copy = async () => {
    const text = command();
    try {
      await navigator.clipboard.writeText(text);
      say("Copied the command.");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy as curl"; }, 1500);
    } catch {
      show("As a shell command", h("pre", { tabindex: "0" }, text));
    }
  };
  const button = h("button", { type: "button", class: "curl", title: command(), onclick: copy }, "Copy as curl");
  return button;
}
