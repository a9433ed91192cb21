// A session for a key: the browser keeps a cookie that no script can read, and the page forgets the key.
import { ask, problem } from "../api.js";
import { h } from "../dom.js";

export default {
  title: "Sign in",
  async render(main, argument, given) {
    if (!isSecureContext) {
      main.append(h("h1", {}, "Sign in"), h("p", { class: "problem", role: "alert" },
        "This page came over plain HTTP, where a browser keeps no session, since anybody on the way could take it. Open the "
        + "service over HTTPS, or under localhost."));
      return;
    }
    const key = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
    const answer = h("div", {});
    const begin = async (event) => {
      event.preventDefault();
      try {
        await ask("/v1/session", { method: "POST", headers: { authorization: `Bearer ${key.value.trim()}` } });
        key.value = "";
        location.hash = given.get("then") || "#/";
      } catch (error) {
        answer.replaceChildren(error.status !== 401 ? problem(error)
          : h("p", { class: "problem", role: "alert" }, "This key or token is not known here, or has ended."));
      }
    };
    const end = async () => {
      await ask("/v1/session", { method: "DELETE" }).catch((error) => answer.replaceChildren(problem(error)));
      answer.replaceChildren(h("p", { role: "status" }, "The session has ended."));
    };
    main.append(h("h1", {}, "Sign in"), h("p", {}, "This service asks for a key or a token."),
      h("form", { class: "row", onsubmit: begin }, h("div", { class: "grow" }, h("label", { for: "key" }, "Key or token"), key),
        h("button", { class: "main" }, "Sign in")),
      h("p", {}, h("button", { type: "button", onclick: end }, "End the session of this browser")), answer);
  },
};
