// Health of the service.
import { askJson, curl, curlButton, Problem, surroundings } from "../api.js";
import { h } from "../dom.js";

export default {
  title: "Health",
  label: "Health",
  key: "h",
  async render(main) {
    const [ready, began] = [await readiness(), performance.now()];
    await askJson("/livez");
    const members = [
      ["Takes requests", ready.ready ? "yes" : "no", ready.ready], ["Stopping", ready.draining ? "yes" : "no", !ready.draining],
      ["Schema", ready.schema, ready.schema === "current"], ["Database", ready.database, ["reachable", "standby"].includes(ready.database)],
      ["Answers within", `${Math.max(1, Math.round(performance.now() - began))} ms`, true], ["Version", surroundings.version, true],
    ];
    main.append(h("h1", {}, "Health"),
      h("div", { class: "row" }, h("a", { href: "/metrics" }, "Metrics"), h("a", { href: "/docs" }, "All operations"),
        h("span", { class: "right" }, curlButton(() => curl("/readyz")))),
      h("dl", {}, members.flatMap(([name, value, isGood]) => [h("dt", {}, name), h("dd", { class: isGood ? "good" : "bad" }, value)])));
  },
};

async function readiness() {
  try {
    return await askJson("/readyz");
  } catch (error) {
    if (error instanceof Problem && "ready" in error.answer) return error.answer;
    throw error;
  }
}
