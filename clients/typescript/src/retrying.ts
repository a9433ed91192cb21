// When an attempt is repeated, and what is known of its outcome.

import { FactwireError, NoOutcome, Problem, type ProblemMembers, UnexpectedAnswer, Unreachable } from "./errors.js";
import { byCode, ConditionFailed, FactIdConflict, InternalError, LeaseLost, OutcomeUnknown } from "./problems.js";

export const TRANSIENT = new Set([408, 429, 500, 502, 503, 504]);
const PAUSE_MS_MAX = 30_000;
// Node says so of failures before a byte was sent; a browser does not say.
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);

/** The attempts of one request: repeated while the cause may pass, until `ms` have passed. */
export class Attempts {
  private readonly giveUpAt: number;
  private tries = 0;
  pauseMs = 0;

  /** `maybeWritten` is true if an attempt was lost before. `needs` is a member without which an answer is not that of the service. */
  constructor(ms: number, private readonly needs: string, private readonly publish?: { facts: NoOutcome["facts"]; body: string }, private maybeWritten = false) {
    this.giveUpAt = Date.now() + ms;
  }

  /** Something other than the network ended an attempt. Throws NoOutcome if one was lost before, and the error otherwise. */
  stopped(error: unknown): never {
    if (this.publish && this.maybeWritten)
      throw new NoOutcome(`an attempt got no answer, and then: ${(error as Error).message}`, this.publish.facts, this.publish.body, { cause: error });
    throw error;
  }

  /** No answer came. Throws Unreachable or NoOutcome at the end. */
  lost(error: unknown): void {
    this.maybeWritten ||= !NEVER_SENT.has(causeOf(error));
    this.again(String((error as Error).cause ?? error), null, error);
  }

  /** Members of a whole answer of the service; undefined if the attempt has to be repeated. Throws Problem. */
  members(response: Response, text: string): any {
    if (response.ok) {
      const members = this.ours(text);
      if (members !== undefined) return members;
      this.maybeWritten = true;
      return this.again("the answer is not that of the service", null, undefined);
    }
    const problem = problemOf(response, text);
    this.maybeWritten ||= tellsNothing(problem);
    if (TRANSIENT.has(response.status)) return this.again(problem.message, response.headers.get("retry-after"), problem);
    if (!isDecisive(problem)) this.stopped(problem);
    throw problem;
  }

  private ours(text: string): any {
    try {
      const members = JSON.parse(text);
      const ids: string[] | undefined = this.publish?.facts.map(({ id }) => id.toLowerCase());
      const known = !ids || String(members.facts.map(({ id }: { id: string }) => id)) === String(ids);
      return known && members[this.needs] !== undefined ? members : undefined;
    } catch {
      return undefined;
    }
  }

  private again(why: string, asked: string | null, cause: unknown): void {
    this.pauseMs = pauseMs(this.tries++, asked);
    if (Date.now() + this.pauseMs < this.giveUpAt) return;
    if (this.publish && this.maybeWritten) throw new NoOutcome(why, this.publish.facts, this.publish.body, { cause });
    throw cause instanceof FactwireError ? cause : new Unreachable(why, { cause });
  }
}

/**
 * True if a refusal says that earlier attempts wrote nothing, and that what is still on its way will not. Ids are looked
 * up before anything else. What `fail_unless_match` misses may come, but what `fail_if_match` found stays.
 */
function isDecisive(problem: Problem): boolean {
  if (problem instanceof ConditionFailed) return String(problem.members["item"]).startsWith("/fail_if_match/");
  return problem instanceof FactIdConflict || problem instanceof LeaseLost;
}

/** True if a refusal leaves open whether the facts were written. */
function tellsNothing(problem: Problem): boolean {
  const byProxy = problem.code === "" && problem.status >= 500;
  return byProxy || problem instanceof OutcomeUnknown || problem instanceof InternalError;
}

function causeOf(error: unknown): string {
  const cause = (error as { cause?: { code?: string; errors?: { code?: string }[] } }).cause;
  return cause?.code ?? cause?.errors?.[0]?.code ?? "";
}

export function problemOf(response: Response, text: string): Problem {
  try {
    const members = JSON.parse(text) as ProblemMembers;
    const [, code] = /^urn:factwire:problem:(.*)$/.exec(members.type) ?? [];
    if (code) return new (byCode.get(code) ?? Problem)(response.status, code, members);
  } catch {
    // of a proxy, and not a problem
  }
  const detail = `${response.url.split("?")[0]} answered ${response.status} ${response.statusText}`;
  return new UnexpectedAnswer(response.status, "", { type: "about:blank", status: response.status, detail });
}

/** Pause before the next attempt: as asked, or exponential; with jitter, so that clients spread out. */
export function pauseMs(tries: number, asked: string | null = null): number {
  const ms = asked !== null && /^\d+$/.test(asked) ? Math.max(Number(asked) * 1000, 100) : 100 * 2 ** Math.min(tries, 10);
  return Math.min(ms, PAUSE_MS_MAX) * (0.75 + Math.random() / 2);
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => (clearTimeout(timer), reject(signal!.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A signal that also aborts after a time in which `touch` was not called. */
export function watchdog(ms: number, signal?: AbortSignal): { signal: AbortSignal; touch(): void; end(): void } {
  const controller = new AbortController();
  const stop = () => controller.abort(signal!.reason);
  const late = () => controller.abort(new Error(`nothing for ${ms / 1000} seconds`));
  let timer = setTimeout(late, ms);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  return {
    signal: controller.signal,
    touch: () => (clearTimeout(timer), (timer = setTimeout(late, ms))),
    end: () => (clearTimeout(timer), signal?.removeEventListener("abort", stop)),
  };
}
