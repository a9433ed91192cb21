// One stream for all tabs of a browser: the tab that holds the lock opens it and passes the events to the others.
//
// Browsers allow six connections to a host over HTTP/1.1, and a stream keeps one; a tab each would use them up. A tab that
// closes loses its lock, and another tab continues after the last cursor that all have received. Over plain HTTP under a name a
// browser has no locks: there each tab has a stream of its own.

const NAME = "factwire-live";
const RETRY_SECONDS = 5;

export function followTogether({ onFact, onState }) {
  const together = "locks" in navigator;
  const channel = together ? new BroadcastChannel(NAME) : null;
  const ending = new AbortController();
  let cursor = "head", source = null;

  const hear = (message) => {
    cursor = message.cursor || cursor;
    if (message.fact !== undefined) onFact(message.fact);
    if (message.state) onState(message.state);
  };
  const report = (message) => { hear(message); channel?.postMessage(message); };
  if (together) {
    channel.onmessage = ({ data }) => {
      if (data.asks) { if (source) channel.postMessage({ cursor, state: "live" }); } else hear(data);
    };
    channel.postMessage({ asks: true });
  }

  const open = () => {
    source = new EventSource(`/v1/stream?after=${encodeURIComponent(cursor)}`);
    source.onmessage = ({ data, lastEventId }) => report({ fact: data, cursor: lastEventId });
    source.addEventListener("caught-up", ({ lastEventId }) => report({ state: "live", cursor: lastEventId }));
    source.addEventListener("position", ({ lastEventId }) => report({ cursor: lastEventId }));
    source.addEventListener("problem", ({ data }) => report({ state: JSON.parse(data).detail }));
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) { report({ state: "reconnecting" }); return; }
      // A refusal closes an EventSource permanently. An ordinary request finds the reason; then the stream is opened again.
      refusal(cursor).then(({ detail, restart }) => {
        if (ending.signal.aborted) return;
        if (restart) cursor = "head";
        report({ state: detail });
        setTimeout(() => { if (!ending.signal.aborted) open(); }, RETRY_SECONDS * 1000);
      });
    };
  };
  const hold = () => new Promise((release) => {
    if (ending.signal.aborted) { release(); return; }
    open();
    ending.signal.addEventListener("abort", () => { source.close(); source = null; release(); });
  });
  if (together) {
    navigator.locks.request(NAME, { signal: ending.signal }, hold).catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
  } else hold();
  return { end() { ending.abort(); channel?.close(); } };
}

async function refusal(cursor) {
  try {
    const response = await fetch(`/v1/facts?limit=1&after=${encodeURIComponent(cursor)}`);
    if (response.ok) return { detail: "reconnecting", restart: false };
    const answer = await response.json();
    if (response.status === 401) dispatchEvent(new Event("factwire-unauthenticated"));
    return { detail: answer.detail, restart: response.status === 409 || response.status === 410 };
  } catch {
    return { detail: "the service cannot be reached", restart: false };
  }
}
