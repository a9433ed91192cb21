// Follow a log into a view in IndexedDB, in a page of any origin that the service names; README.md shows how.
const PAUSE_MS = 2000;

/** Resolves to a problem after which going on would be wrong; rejects where the view cannot be stored. */
export async function follow(url, name, { authorization = () => "", onChange, onProblem }) {
  const view = await open(name);
  return navigator.locks.request(name, async () => {  // one tab follows; the others wait for it to be closed
    for (;; await new Promise((wake) => setTimeout(wake, PAUSE_MS * (1 + Math.random())))) {
      const refusal = await followOnce(view, new URL(url), await authorization(), onChange, onProblem);
      if (refusal) return refusal;
    }
  });
}

async function followOnce(view, url, authorization, onChange, onProblem) {
  const kept = await done(view.transaction("progress").objectStore("progress").get("cursor"));
  url.searchParams.set("after", kept ?? "start");
  const asked = { method: "POST", headers: authorization ? { authorization } : {} };
  const answer = await fetch(String(url).replace("/v1/stream", "/v1/tickets"), asked).catch(() => null);
  if (!answer || answer.status >= 500 || [408, 429].includes(answer.status)) return null;
  if (!answer.ok) return answer.json();
  url.searchParams.set("ticket", (await answer.json()).ticket);
  const source = new EventSource(url);
  let stored = Promise.resolve();
  await new Promise((end) => {
    const keep = (event) => {  // one after the other, and nothing behind what could not be stored
      stored = stored.then(() => store(view, event)).then(onChange);
      stored.catch(end);
    };
    for (const type of ["message", "caught-up", "position"]) source.addEventListener(type, keep);
    source.addEventListener("problem", (event) => onProblem(JSON.parse(event.data)));
    source.onerror = end;  // its ticket is used up: it could only reconnect in vain
  });
  source.close();
  await stored;
  return null;
}

function store(view, { type, data, lastEventId }) {
  const both = view.transaction(["totals", "progress"], "readwrite");  // the view and its cursor, both or neither
  const moved = both.objectStore("progress").put(lastEventId, "cursor");
  if (type === "message") moved.onsuccess = () => apply(both.objectStore("totals"), JSON.parse(data));
  return new Promise((kept, failed) => Object.assign(both, { oncomplete: kept, onabort: () => failed(both.error) }));
}

function apply(totals, fact) {
  const count = totals.get(fact.type);
  count.onsuccess = () => totals.put((count.result ?? 0) + 1, fact.type);
}

function open(name) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => ["totals", "progress"].forEach((store) => opening.result.createObjectStore(store));
  return done(opening);
}

const done = (request) => new Promise((found, failed) => {
  Object.assign(request, { onsuccess: () => found(request.result), onerror: () => failed(request.error) });
});
