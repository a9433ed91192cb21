// A worker of a subscription: claims facts, has them handled, and acknowledges or returns them.

import { FactwireError } from "./errors.js";
import type { FactOf, Payloads } from "./facts.js";
import { LeaseLost, SubscriptionNotFound } from "./problems.js";

const WAIT_SECONDS = 20;
const FLUSH_MS = 1000;

/**
 * A fact in the hands of this worker. `attempt` is 1 at first. To acknowledge it by a publish, in one transaction:
 * `publish(…, { acknowledge: claimed })`.
 */
export interface Claimed<P extends Payloads = Payloads> {
  fact: FactOf<P>;
  attempt: number;
  lease: string;
  subscription: string;
}

/** Thrown by a handler: the fact is to come again, after some milliseconds or the backoff of the subscription. */
export class Retry extends FactwireError {
  constructor(reason = "", readonly afterMs?: number) {
    super(reason);
  }
}

/** Thrown by a handler: the fact is to be set aside until somebody decides. The reason must not be personal. */
export class Park extends FactwireError {}

export interface Working {
  /** The name of this worker among the others, for people. */
  worker?: string;
  /** Facts of one claim (default: 10). They are handled one after the other, and no other worker gets them meanwhile. */
  limit?: number;
  /** End when there is nothing left to claim at present. */
  untilCaughtUp?: boolean;
  /** Ends the work: what is done is acknowledged, and the rest released. */
  signal?: AbortSignal;
  /** Told of a handler's failure that is neither Retry nor Park, and of facts that were lost (default: console.error). */
  onError?: (error: unknown, claimed?: Claimed) => void;
}

/** What `publish` says of the facts that it acknowledges. */
export function acknowledgementOf(claimed: Claimed | Claimed[]): { subscription: string; leases: string[] } {
  const several = Array.isArray(claimed) ? claimed : [claimed];
  const [subscription, ...others] = new Set(several.map((each) => each.subscription));
  if (subscription === undefined || others.length) throw new TypeError("a publish acknowledges facts of one subscription, at least one");
  return { subscription, leases: several.map(({ lease }) => lease) };
}

/** What a worker needs of the client. */
export interface Asking {
  ask(method: string, path: string, needs: string, body?: object, options?: { waitSeconds?: number; patient?: boolean; signal?: AbortSignal }): Promise<any>;
}

/** Works on one claim at a time, on its facts one after the other. */
export class Worker<P extends Payloads> {
  private readonly path: string;
  private left: Claimed<P>[] = [];
  private done: string[] = [];
  private lost = new Set<string>();
  private flushedAt = 0;

  constructor(private readonly client: Asking, private readonly subscription: string, private readonly handle: (claimed: Claimed<P>) => unknown, private readonly options: Working) {
    this.path = `/v1/subscriptions/${encodeURIComponent(subscription)}`;
  }

  async run(): Promise<void> {
    const { worker = `worker-${Math.random().toString(36).slice(2, 8)}`, limit = 10, untilCaughtUp = false, signal } = this.options;
    const { ack_timeout_seconds } = await this.client.ask("GET", this.path, "ack_timeout_seconds");
    const waitSeconds = untilCaughtUp ? 0 : WAIT_SECONDS;
    while (!signal?.aborted) {
      const body = { worker, limit, wait_seconds: waitSeconds };
      let answer: any;
      try {
        answer = await this.client.ask("POST", `${this.path}/claim`, "facts", body, { waitSeconds, patient: true, ...(signal && { signal }) });
      } catch (error) {
        if (signal?.aborted) return;
        throw error;
      }
      await this.workOff(answer.facts, ack_timeout_seconds * 1000);
      if (untilCaughtUp && !answer.facts.length && (answer.caught_up || answer.state !== "active")) return;
    }
  }

  /** Handle the facts of one claim. What is left when this ends by force goes back at once. */
  private async workOff(facts: any[], timeoutMs: number): Promise<void> {
    this.left = facts.map(({ fact, attempt, lease }) => ({ fact: { ...fact, cursor: String(fact.position) }, attempt, lease, subscription: this.subscription }));
    this.lost.clear();
    this.flushedAt = Date.now();
    const extending = setInterval(() => void this.say("extend", { leases: [...this.left.map(({ lease }) => lease), ...this.done].slice(0, 1000) }), timeoutMs / 3);
    try {
      while (this.left.length && !this.options.signal?.aborted) {
        if (this.lost.has(this.left[0]!.lease)) this.left.shift();
        else await this.handleOne(this.left[0]!);
        if (Date.now() - this.flushedAt > FLUSH_MS) await this.flush();
      }
    } finally {
      clearInterval(extending);
      await this.flush();
      if (this.left.length) await this.say("release", { leases: this.left.map(({ lease }) => lease) });
    }
  }

  private async handleOne(claimed: Claimed<P>): Promise<void> {
    const { lease } = claimed;
    try {
      await this.handle(claimed);
      this.left.shift();
      this.done.push(lease);
    } catch (failure) {
      this.left.shift();
      if (failure instanceof LeaseLost && leasesOf(failure).includes(lease)) return this.report(failure, claimed);
      if (!(failure instanceof Retry || failure instanceof Park)) this.report(failure, claimed);
      await this.flush();
      const { withdrawn = [] } = await this.say("nack", { leases: [lease], ...returnedAs(failure) });
      this.left = this.left.filter((each) => !withdrawn.includes(each.lease));
    }
  }

  /** Acknowledge what is done. */
  private async flush(): Promise<void> {
    const leases = this.done.splice(0);
    this.flushedAt = Date.now();
    if (leases.length) await this.say("ack", { leases });
  }

  /** Tell the service of facts. If others have them by now, or it cannot be reached, they come again. */
  private async say(operation: string, body: object): Promise<any> {
    const needs = { ack: "acknowledged", extend: "expires_at" }[operation] ?? "returned";
    try {
      return await this.client.ask("POST", `${this.path}/${operation}`, needs, body);
    } catch (error) {
      if (error instanceof SubscriptionNotFound && operation !== "extend") throw error;
      if (error instanceof LeaseLost) for (const lease of leasesOf(error)) this.lost.add(lease); // others have them
      this.report(error);
      return {};
    }
  }

  private report(error: unknown, claimed?: Claimed<P>): void {
    if (this.options.onError) this.options.onError(error, claimed as Claimed);
    else console.error(`subscription ${this.subscription}:`, error);
  }
}

const leasesOf = (problem: LeaseLost): string[] => (problem.members.leases as string[] | undefined) ?? [];

/** How a fact goes back after a failure. Of an unforeseen one only the class is told: its text may be personal. */
function returnedAs(failure: unknown): object {
  if (failure instanceof Park) return { park: true, reason: failure.message.slice(0, 1000) };
  if (failure instanceof Retry)
    return { ...(failure.afterMs !== undefined && { retry_after_seconds: failure.afterMs / 1000 }), reason: failure.message.slice(0, 1000) };
  return { reason: (failure as Error)?.name ?? "Error" };
}
