// The client: publish, decide, read, follow, project and work over HTTP.

import { createParser, type EventSourceMessage } from "eventsource-parser";

import { type NoOutcome, TooManyFacts, Unreachable } from "./errors.js";
import { type AnyQuery, bodyOf, type Bound, type Condition, epochOf, type Fact, type FactOf, itemsOf, type NewFact, type Page, type Payloads, type Published, uuid7 } from "./facts.js";
import type { components } from "./models.js";
import { ConditionFailed, CursorAhead, CursorForked } from "./problems.js";
import { Attempts, pauseMs, problemOf, sleep, TRANSIENT, watchdog } from "./retrying.js";
import type { View } from "./views.js";
import { type Asking, type Claimed, Worker, type Working } from "./work.js";

const ANSWER_MS = 30_000;
const HEARTBEAT_SECONDS = 15;
const SILENCE_MS = 3 * HEARTBEAT_SECONDS * 1000; // after three heartbeats that did not come, the connection is dead
const RETRY_MS = 2000;
const EVENT_LENGTH_MAX = 64 * 1024 * 1024;
const PAGE_FACTS = 100; // of a page without a limit; a service may allow no more
const URL_QUERY_LENGTH_MAX = 2000;

export interface Options {
  /** An API key or a token, or a function that is asked for one before each attempt. */
  key?: string | (() => string | Promise<string>);
  /** For how many milliseconds an operation is retried (default: 30 000). Streams are retried without end. */
  giveUpAfterMs?: number;
  /** A fetch of your own. */
  fetch?: typeof fetch;
  /** How long a stream may be silent, in milliseconds (default: 45 000, three heartbeats). */
  silenceMs?: number;
}

export interface Range {
  /** Exclusive: a cursor, a position, the id of a fact, `start` or `head`. */
  after?: Bound;
  /** Inclusive. */
  until?: Bound;
  limit?: number;
  newestFirst?: boolean;
}

export interface Following {
  after?: Bound;
  untilCaughtUp?: boolean;
  signal?: AbortSignal;
  /** Throw Unreachable after so many milliseconds without a stream (default: never). */
  giveUpAfterMs?: number;
  /**
   * Asked for a ticket before each stream, for pages that have no key: a text, or the answer of a `fetch` whose body it
   * is. An answer of 408, 429 or 5xx is asked for again; what the function throws ends the stream, unless `fetch` failed.
   */
  ticket?: () => string | Response | Promise<string | Response>;
  /** Told when a stream is open, and when one has ended and is opened again, with the error if it was one. */
  onState?: (state: "open" | "retrying", error?: unknown) => void;
}

/** An event that moves the cursor. */
export interface FactwireEvent {
  name: "fact" | "caught-up" | "position";
  cursor: string;
  /** Its JSON text. */
  data: string;
}

type Decided<P extends Payloads> = NewFact<P> | NewFact<P>[] | null | undefined | void;

/** A log, at the URL of the service. `P` types payloads: `new Factwire<{ "shop/OrderPlaced": OrderPlaced }>(url)`. */
export class Factwire<P extends Payloads = Payloads> {
  readonly url: string;
  private readonly fetch: typeof fetch;

  constructor(url: string, private readonly options: Options = {}) {
    this.url = url.replace(/\/+$/, "");
    if (/^[a-z]+:\/\/[^/]*@/.test(this.url)) throw new TypeError("the address has a user or a password: give a key by { key }");
    if (!/^https?:/.test(this.url)) throw new TypeError(`expected the address of the service, such as http://127.0.0.1:8000, and not ${url}`);
    this.fetch = options.fetch ?? ((input, init) => fetch(input, init));
  }

  /**
   * Publish a fact. Resolves once it is in the log, whether by this attempt or an earlier one.
   * Rejects with ConditionFailed, another Problem, Unreachable (not written) or NoOutcome (it may have been written).
   */
  publish<K extends keyof P & string>(
    ...[namespace, type, payload, rest]: K extends `${infer N}/${infer T}`
      ? [namespace: N, type: T, payload: P[K], rest?: Omit<NewFact, "namespace" | "type" | "payload"> & Condition]
      : [namespace: string, type: string, payload: unknown, rest?: Omit<NewFact, "namespace" | "type" | "payload"> & Condition]
  ): Promise<Published> {
    const { fail_if_match, fail_unless_match, after, acknowledge, ...fact } = rest ?? {};
    const condition = present({ fail_if_match, fail_unless_match, after, acknowledge });
    return this.publishAll([{ ...fact, namespace, type, payload } as NewFact<P>], condition);
  }

  /** Publish facts as one: all of them, at consecutive positions, or none. */
  async publishAll(facts: NewFact<P>[], condition: Condition = {}): Promise<Published> {
    const identified = (facts as NewFact[]).map((fact) => ({ ...fact, id: fact.id ?? uuid7(), payload: fact.payload }));
    const publish = { facts: identified, body: bodyOf(identified, condition) };
    return this.publishOnce(new Attempts(this.giveUpMs, "facts", publish), publish.body);
  }

  /** Go on with a publish whose outcome is unknown: the same request again, with its condition. */
  async resume(unknown: { facts: NoOutcome["facts"]; body: string }): Promise<Published> {
    return this.publishOnce(new Attempts(this.giveUpMs, "facts", unknown, true), unknown.body);
  }

  private async publishOnce(attempts: Attempts, body: string): Promise<Published> {
    const [members, status] = await this.ask("POST", "/v1/facts", attempts, body);
    return { ...members, replayed: status === 200 };
  }

  /**
   * Read all facts that match, and publish what `decision` makes of them, unless another such fact came first. If one
   * came, the new facts are read too and `decision` is asked again: it must not change anything itself.
   */
  async decide(query: AnyQuery, decision: (facts: FactOf<P>[]) => Decided<P> | Promise<Decided<P>>, { attempts = 10, factsMax = 10_000 } = {}): Promise<Published | null> {
    let facts: FactOf<P>[] = [];
    let after: Bound = "start";
    for (;;) {
      try {
        for (let caughtUp = false; !caughtUp; ) {
          const page: Page<P> = await this.page(query, { after });
          facts.push(...page.facts);
          if (facts.length > factsMax) throw new TooManyFacts(`more than ${factsMax} facts match: narrow the query, or raise factsMax`);
          caughtUp = page.caught_up;
          after = page.head_cursor ?? page.cursor;
        }
        const decided = await decision([...facts]);
        const list = (decided ? (Array.isArray(decided) ? decided : [decided]) : []) as NewFact<P>[];
        return list.length ? await this.publishAll(list, { fail_if_match: query, after }) : null;
      } catch (error) {
        // After a fail-over that lost facts, a cursor is of a history that is gone: everything is read again.
        const forked = error instanceof CursorForked || error instanceof CursorAhead;
        if (--attempts <= 0 || !(forked || error instanceof ConditionFailed)) throw error;
        if (forked) [facts, after] = [[], "start"];
        await sleep(Math.random() * 50);
      }
    }
  }

  /** A page of the facts that match. `waitSeconds` is how long an empty page waits for the first one. */
  async page(query?: AnyQuery, { after, until, limit, newestFirst, waitSeconds }: Range & { waitSeconds?: number } = {}): Promise<Page<P>> {
    const parameters = { after, until, limit, order: newestFirst ? "desc" : undefined, wait_seconds: waitSeconds };
    const { method, path, body } = asking(query, "/v1/facts", "/v1/facts/search", parameters);
    const extraMs = (waitSeconds ?? 0) * 1000;
    const [page] = await this.ask(method, path, new Attempts(this.giveUpMs + extraMs, "cursor"), body, extraMs);
    return { ...page, facts: page.facts.map((fact: Fact) => withCursor(fact, page.cursor)) };
  }

  /** The facts that match, up to the present head, page by page as they are taken. */
  async *read(query?: AnyQuery, { after, until, limit = Infinity, newestFirst = false }: Range = {}): AsyncGenerator<FactOf<P>, void> {
    for (let left = limit; left > 0; ) {
      const page = await this.page(query, present({ after, until, limit: left < PAGE_FACTS ? left : undefined, newestFirst }));
      yield* page.facts;
      left -= page.facts.length;
      if (page.caught_up) return;
      if (newestFirst) until = page.until;
      else after = page.cursor;
    }
  }

  /** The fact with an id or at a position. Rejects with FactNotFound. */
  async fact(idOrPosition: Bound): Promise<FactOf<P>> {
    const at = typeof idOrPosition === "number" ? "at/" : "";
    const [fact] = await this.ask("GET", `/v1/facts/${at}${encodeURIComponent(idOrPosition)}`, new Attempts(this.giveUpMs, "position"));
    return { ...fact, cursor: String(fact.position) };
  }

  /** The head of the log, or the last position before a time (RFC 3339). */
  async position(at?: string): Promise<components["schemas"]["LogPosition"]> {
    const path = `/v1/position${at === undefined ? "" : `?at=${encodeURIComponent(at)}`}`;
    return (await this.ask("GET", path, new Attempts(this.giveUpMs, "position")))[0];
  }

  /** A ticket for a page: it opens one stream with this query, once. */
  async ticket(query?: AnyQuery): Promise<string> {
    return (await this.ask("POST", "/v1/tickets", new Attempts(this.giveUpMs, "ticket"), JSON.stringify({ items: itemsOf(query) })))[0].ticket;
  }

  /**
   * Facts that match, first those in the log, then each new one. Streams that end are opened again. Keep `fact.cursor`
   * to go on after a restart. Rejects with a Problem where going on would be wrong, such as CursorForked.
   */
  async *follow(query?: AnyQuery, options: Following = {}): AsyncGenerator<FactOf<P>, void> {
    for await (const event of this.events(query, options)) if (event.name === "fact") yield factOf<P>(event);
  }

  /** As `follow`, with the events that move the cursor without a fact. */
  async *events(query?: AnyQuery, options: Following = {}): AsyncGenerator<FactwireEvent, void> {
    for await (const batch of this.batches(query, options)) {
      yield* batch;
      if (options.untilCaughtUp && batch.some((event) => event.name === "caught-up")) return;
    }
  }

  /**
   * Fold facts into a view: `apply` is called for each, in a transaction that also moves the view's cursor. Facts that
   * arrive together share a transaction, at most `batchMax` of them (default: 1 000).
   */
  async project<Target>(view: View<Target>, query: AnyQuery | undefined, apply: (target: Target, fact: FactOf<P>) => void | Promise<void>, { batchMax = 1000, ...options }: Omit<Following, "after"> & { batchMax?: number } = {}): Promise<void> {
    for await (const arrived of this.batches(query, { ...options, after: await view.cursor() })) {
      for (let begin = 0; begin < arrived.length; begin += batchMax) {
        const batch = arrived.slice(begin, begin + batchMax);
        await view.moved(batch.at(-1)!.cursor, async (target) => {
          for (const event of batch) if (event.name === "fact") await apply(target, factOf<P>(event));
        });
      }
      if (options.untilCaughtUp && arrived.some((event) => event.name === "caught-up")) return;
    }
  }

  /** Events as they arrive together, over as many streams as it takes. */
  private async *batches(query: AnyQuery | undefined, { after = "start", signal, giveUpAfterMs = Infinity, ticket, onState }: Following): AsyncGenerator<FactwireEvent[], void> {
    if (ticket !== undefined && typeof ticket !== "function") throw new TypeError("ticket: expected a function, which is asked before each stream");
    let retryMs = RETRY_MS, tries = 0, failingSince = 0, refusedTickets = 0;
    for (;;) {
      const watch = watchdog(this.options.silenceMs ?? SILENCE_MS, signal);
      let pause = 0, cause: unknown;
      try {
        const given = await ticket?.();
        const issued = given instanceof Response && given.ok ? await given.text() : given;
        const parameters = { after, heartbeat: HEARTBEAT_SECONDS, ticket: issued };
        const { method, path, body } = asking(query, "/v1/stream", "/v1/stream", parameters);
        const response = issued instanceof Response ? issued : await this.fetch(this.url + path, { method, body: body ?? null, headers: await this.headers(ticket !== undefined), signal: watch.signal, redirect: "manual", cache: "no-store" });
        if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
          cause = problemOf(response, await response.text());
          const again = ticket !== undefined && response.status === 401 && refusedTickets++ === 0; // it may have expired on its way
          if (!again && !TRANSIENT.has(response.status)) throw cause;
          pause = pauseMs(tries++, response.headers.get("retry-after"));
        } else {
          onState?.("open");
          refusedTickets = 0;
          for await (const batch of parsed(response.body!, watch.touch, (ms) => (retryMs = Math.min(ms, 60_000)))) {
            [after, tries, failingSince] = [batch.at(-1)!.cursor, 0, 0];
            yield batch;
          }
          failingSince = 0;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof TypeError || error === watch.signal.reason)) throw error; // fetch failed, or was silent
        failingSince ||= Date.now();
        if (Date.now() - failingSince > giveUpAfterMs) throw new Unreachable(`no stream for ${giveUpAfterMs / 1000} seconds`, { cause: error });
        pause = pauseMs(tries++);
        cause = error;
      } finally {
        watch.end();
      }
      onState?.("retrying", cause);
      await sleep(Math.max(pause, retryMs * (0.75 + Math.random() / 2)), signal);
    }
  }

  /**
   * Create a subscription, or bring it into this form. `start` counts only when it is created (default: `head`). The
   * other members are those of docs/subscriptions.md, such as `ordering` and `max_attempts`.
   */
  async subscribe(subscription: string, query?: AnyQuery, rules: Omit<components["schemas"]["SubscriptionBody"], "query"> = {}): Promise<void> {
    const body = JSON.stringify({ ...rules, query: { items: itemsOf(query) } });
    await this.ask("PUT", `/v1/subscriptions/${encodeURIComponent(subscription)}`, new Attempts(this.giveUpMs, "name"), body);
  }

  /**
   * Handle the facts of a subscription, beside its other workers: one after the other, until `signal` is aborted. A fact
   * is acknowledged when `handle` resolves. If it throws Retry or Park, the fact comes again or is parked, and so does it
   * after any other error, by the rules of the subscription. Meanwhile the leases are extended.
   */
  async work(subscription: string, handle: (claimed: Claimed<P>) => unknown, options: Working = {}): Promise<void> {
    const client: Asking = {
      ask: async (method, path, needs, body, { waitSeconds = 0, patient = false, signal } = {}) => {
        const attempts = new Attempts(patient ? Infinity : this.giveUpMs, needs);
        return (await this.ask(method, path, attempts, body && JSON.stringify(body), waitSeconds * 1000, signal))[0];
      },
    };
    await new Worker<P>(client, subscription, handle, options).run();
  }

  private get giveUpMs(): number {
    return this.options.giveUpAfterMs ?? 30_000;
  }

  /** Members of an answer and its status, after as many attempts as it takes. */
  private async ask(method: string, path: string, attempts: Attempts, body?: string, extraMs = 0, signal?: AbortSignal): Promise<[any, number]> {
    for (;;) {
      const watch = watchdog(Math.min(ANSWER_MS, Math.max(1000, this.giveUpMs)) + extraMs, signal);
      try {
        const headers = await this.headers().catch((error: unknown) => attempts.stopped(error));
        const answered = await this.fetch(this.url + path, { method, body: body ?? null, headers, signal: watch.signal, redirect: "manual", cache: "no-store" })
          .then(async (response) => ({ response, text: await response.text() }))
          .catch((error: unknown) => (signal?.throwIfAborted(), attempts.lost(error)));
        const members = answered && attempts.members(answered.response, answered.text);
        if (members !== undefined) return [members, answered!.response.status];
      } finally {
        watch.end();
      }
      await sleep(attempts.pauseMs, signal);
    }
  }

  private async headers(withTicket = false): Promise<Record<string, string>> {
    const headers = { "content-type": "application/json" };
    const key = (withTicket ? undefined : typeof this.options.key === "function" ? await this.options.key() : this.options.key)?.trim();
    if (key !== undefined && !/^[!-~]+$/.test(key)) throw new TypeError("the key has characters that no key has");
    return key === undefined ? headers : { ...headers, authorization: `Bearer ${key}` };
  }
}

/** Events of a body, those of each chunk together. An event that was cut is never one of them. */
async function* parsed(body: ReadableStream<Uint8Array>, touch: () => void, onRetry: (ms: number) => void): AsyncGenerator<FactwireEvent[], void> {
  let batch: FactwireEvent[] = [], length = 0;
  const onEvent = ({ event = "fact", id, data }: EventSourceMessage) => {
    length = 0;
    if (event === "problem") console.warn(`factwire: the stream ends: ${data}`); // if going on is wrong, the next answer says so
    else if (id !== undefined) batch.push({ name: event as FactwireEvent["name"], cursor: id, data });
  };
  const parser = createParser({ onEvent, onRetry });
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      touch();
      length += value.length;
      parser.feed(decoder.decode(value, { stream: true }));
      if (length > EVENT_LENGTH_MAX) throw new RangeError(`an event has more than ${EVENT_LENGTH_MAX} bytes`);
      if (batch.length) yield batch.splice(0);
    }
  } finally {
    await reader.cancel().catch(() => undefined); // it may have failed already
  }
}

function factOf<P extends Payloads>(event: FactwireEvent): FactOf<P> {
  return withCursor(JSON.parse(event.data), event.cursor);
}

const withCursor = (fact: any, cursor: string): any => ({ ...fact, cursor: cursor && `${epochOf(cursor)}:${fact.position}` });

function present<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as any;
}

/** Method, path and body of a request with a query: in the URL, or in the body if it is large. */
function asking(query: AnyQuery | undefined, path: string, pathOfLarge: string, parameters: Record<string, unknown>): { method: string; path: string; body?: string } {
  const given = new URLSearchParams(Object.entries(present(parameters)).map(([name, value]): [string, string] => [name, String(value)]));
  const items = itemsOf(query);
  const text = JSON.stringify({ items });
  if (text.length > URL_QUERY_LENGTH_MAX) return { method: "POST", path: `${pathOfLarge}?${given}`, body: text };
  if (items.length) given.set("query", text);
  return { method: "GET", path: `${path}?${given}` };
}
