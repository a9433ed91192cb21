// Tests against a real service, in Node: a server for a run, and facts of its own for each test.

import { spawn } from "node:child_process";

import { Factwire, type Options } from "./client.js";
import type { AnyQuery, FactOf, NewFact, Payloads, Published } from "./facts.js";
import type { Claimed } from "./work.js";

export interface ServerOptions {
  /** The command that runs `factwire` (default: FACTWIRE_COMMAND, or `factwire`). */
  command?: string;
  /** A file of facts that the log begins with. */
  seed?: string;
  /** Settings of the service: `{ FACTWIRE_AUTH: "keys" }`. */
  settings?: Record<string, string>;
}

export interface Server {
  url: string;
  database_url: string;
  pid: number;
  stop(): Promise<void>;
}

/** Start `factwire serve --ephemeral`: a new log, which is gone when the server stops or this process ends. */
export async function startFactwire({ command = process.env["FACTWIRE_COMMAND"] ?? "factwire", seed, settings = {} }: ServerOptions = {}): Promise<Server> {
  const [program, ...before] = command.split(" ");
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("FACTWIRE_"));
  const options = ["serve", "--ephemeral", "--announce", "json", "--with-parent", ...(seed ? ["--seed", seed] : [])];
  const server = spawn(program!, [...before, ...options], { env: { ...Object.fromEntries(own), ...settings }, stdio: ["ignore", "pipe", "pipe"] });
  let said = "", log = "";
  server.stderr.on("data", (chunk) => (log = (log + chunk).slice(-10_000)));
  const ended = new Promise<void>((resolve) => server.once("close", () => resolve()));
  const announced = await new Promise<Omit<Server, "stop">>((resolve, reject) => {
    const fail = (why: string) => (server.kill("SIGKILL"), reject(new Error(`factwire serve --ephemeral did not start: ${why}`)));
    const late = setTimeout(() => fail("not within a minute"), 60_000);
    server.once("error", (error) => fail(`${error.message}: FACTWIRE_COMMAND or { command } names the command`));
    void ended.then(() => fail(log || "it said nothing"));
    server.stdout.on("data", (chunk) => {
      said += chunk;
      if (!said.includes("\n")) return;
      clearTimeout(late);
      resolve(JSON.parse(said.slice(0, said.indexOf("\n"))));
    });
  });
  return { ...announced, stop: () => (server.kill("SIGTERM"), ended) };
}

/** Facts of one test, in a namespace of its own. */
export class Facts<P extends Payloads = Payloads> {
  readonly log: Factwire<P>;
  readonly namespace = `test-${crypto.randomUUID()}`;
  /** The cursor at which the test began. */
  readonly begin: Promise<string>;

  constructor(url: string, options: Options = {}) {
    this.log = new Factwire<P>(url, options);
    this.begin = this.log.position().then(({ cursor }) => cursor);
    this.begin.catch(() => undefined); // it is told to whoever asks
  }

  /** Publish a fact, in the test's namespace unless another is named. */
  async given(type: string, payload: unknown = null, members: Partial<NewFact> = {}): Promise<Published> {
    await this.begin;
    return this.log.publishAll([{ namespace: this.namespace, ...members, type, payload } as NewFact<P>]);
  }

  /** Facts that were published since the test began, in any namespace, by anybody. */
  async published(query?: AnyQuery): Promise<FactOf<P>[]> {
    const found: FactOf<P>[] = [];
    for await (const fact of this.log.read(query, { after: await this.begin })) found.push(fact);
    return found;
  }

  /**
   * Let a worker handle what was published since the test began, until nothing is left to claim, by a subscription of
   * this call only. Rejects with the first failure of `handle` that is neither Retry nor Park.
   */
  async work(handle: (claimed: Claimed<P>) => unknown, query?: AnyQuery, rules: Parameters<Factwire["subscribe"]>[2] = {}): Promise<void> {
    const name = `${this.namespace}-${crypto.randomUUID()}`;
    const failures: unknown[] = [];
    await this.log.subscribe(name, query, { ...rules, start: await this.begin });
    await this.log.work(name, handle, { untilCaughtUp: true, onError: (error) => failures.push(error) });
    if (failures.length) throw failures[0];
  }

  /** Wait until a view, or a function that returns a cursor, has come to the present head. */
  async waitUntilCaughtUp(view: { cursor(): Promise<string> } | (() => string | Promise<string>), ms = 10_000): Promise<void> {
    const { head } = await this.log.position();
    const cursor = typeof view === "function" ? view : () => view.cursor();
    await this.waitUntil(async () => Number((await cursor()).split(":").at(-1)) >= head, ms);
  }

  /** Wait until a claim is true, and return what it gave. */
  async waitUntil<T>(claim: () => T | Promise<T>, ms = 10_000): Promise<T> {
    for (const giveUpAt = Date.now() + ms; ; await new Promise((wake) => setTimeout(wake, 10))) {
      const found = await claim();
      if (found) return found;
      if (Date.now() > giveUpAt) throw new Error(`not within ${ms / 1000} seconds: ${claim}`);
    }
  }
}
