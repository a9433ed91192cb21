// An event store of emmett that keeps its streams in Factwire. A stream is an aggregate id; the number of an event in
// its stream is kept in meta, so that an expected version is a condition, also one that comes from elsewhere.
import {
  ExpectedVersionConflictError, NO_CONCURRENCY_CHECK, STREAM_DOES_NOT_EXIST, STREAM_EXISTS,
} from "@event-driven-io/emmett";

const PAGE_FACTS = 1000;
const CONDITION_FAILED = "urn:factwire:problem:condition-failed";

export class FactwireEventStore {
  #url;
  #namespace;

  constructor(url, namespace) {
    this.#url = url;
    this.#namespace = namespace;
  }

  async streamExists(stream) {
    return (await this.#newest(stream)).version > 0n;
  }

  async aggregateStream(stream, { evolve, initialState, read }) {
    const { events, ...rest } = await this.readStream(stream, read);
    return { ...rest, state: events.reduce(evolve, initialState()) };
  }

  async readStream(stream, { from = 1n, to, maxCount } = {}) {
    const events = [];
    let version = 0n;
    for (let after = "start", caughtUp = false; !caughtUp;) {
      const page = await this.#read({ aggregate_id: stream, after, limit: PAGE_FACTS });
      for (const fact of page.facts) {
        version = BigInt(fact.meta.version);
        if (version >= from && (to === undefined || version <= to)) events.push(recorded(stream, fact));
      }
      ({ cursor: after, caught_up: caughtUp } = page);
    }
    const most = maxCount === undefined ? events.length : Number(maxCount);
    return { events: events.slice(0, most), currentStreamVersion: version, streamExists: version > 0n };
  }

  async appendToStream(stream, events, { expectedStreamVersion: expected = NO_CONCURRENCY_CHECK } = {}) {
    if (typeof expected === "bigint" || expected === STREAM_DOES_NOT_EXIST) {
      const version = expected === STREAM_DOES_NOT_EXIST ? 0n : expected;
      if (await this.#publish(stream, events, version, this.#atVersion(stream, version))) {
        return { nextExpectedStreamVersion: version + BigInt(events.length), createdNewStream: version === 0n };
      }
      throw new ExpectedVersionConflictError((await this.#newest(stream)).version, expected);
    }
    for (;;) { // any version: the one that the stream has
      const { version, headCursor } = await this.#newest(stream);
      if (expected === STREAM_EXISTS && version === 0n) throw new ExpectedVersionConflictError(version, expected);
      const condition = { fail_if_match: [this.#item(stream)], after: headCursor };
      if (await this.#publish(stream, events, version, condition)) {
        return { nextExpectedStreamVersion: version + BigInt(events.length), createdNewStream: version === 0n };
      }
    }
  }

  /** The last event has this number: it is there, and the next one is not. */
  #atVersion(stream, version) {
    if (version === 0n) return { fail_if_match: [this.#item(stream)] };
    return {
      fail_unless_match: [this.#item(stream, { version: String(version) })],
      fail_if_match: [this.#item(stream, { version: String(version + 1n) })],
    };
  }

  #item(stream, meta) {
    return { namespaces: [this.#namespace], aggregate_ids: [stream], meta };
  }

  async #newest(stream) {
    const page = await this.#read({ aggregate_id: stream, order: "desc", limit: 1 });
    return { version: BigInt(page.facts[0]?.meta.version ?? 0), headCursor: page.head_cursor };
  }

  async #read(parameters) {
    const query = new URLSearchParams({ namespace: this.#namespace, ...parameters });
    return await successful(await fetch(`${this.#url}/v1/facts?${query}`));
  }

  /** True if the events are stored, false if the condition failed. */
  async #publish(stream, events, version, condition) {
    const facts = events.map(({ type, data }, index) => ({
      namespace: this.#namespace, type, payload: data, aggregate_ids: [stream],
      meta: { version: String(version + BigInt(index + 1)) },
    }));
    const answer = await fetch(`${this.#url}/v1/facts`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ facts, condition }),
    });
    if (answer.status !== 409) return Boolean(await successful(answer));
    const problem = await answer.json();
    if (problem.type !== CONDITION_FAILED) throw new Error(problem.detail);
    return false;
  }
}

async function successful(answer) {
  if (!answer.ok) throw new Error(await answer.text());
  return await answer.json();
}

function recorded(stream, fact) {
  const { id, type, payload, position, meta } = fact;
  const metadata = {
    messageId: id, streamName: stream, streamPosition: BigInt(meta.version), globalPosition: BigInt(position),
  };
  return { kind: "Event", type, data: payload, metadata };
}
