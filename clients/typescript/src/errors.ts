/** Base of all errors of this package. */
export class FactwireError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

export interface ProblemMembers {
  type: string;
  status: number;
  detail: string;
  errors?: { pointer?: string; parameter?: string; detail: string }[];
  [member: string]: unknown;
}

/** The service refused the request: nothing was written. Its subclasses, by code, are in problems.ts. */
export class Problem extends FactwireError {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly members: ProblemMembers,
  ) {
    const fields = (members.errors ?? []).map((each) => `${each.pointer ?? each.parameter}: ${each.detail}`);
    super([`${code || status}: ${members.detail}`, ...fields.filter((field) => !members.detail.includes(field))].join("; "));
  }
}

/** Something other than the service answered, such as a proxy, and asking again would not help. */
export class UnexpectedAnswer extends Problem {}

/** The service could not be reached, or could not serve, for as long as was tried. Nothing was written. */
export class Unreachable extends FactwireError {}

/**
 * An attempt to publish got no answer, and those after it did not tell either: the facts may have been written.
 * `facts` has them with their ids, and `body` is the request, with its condition. `resume(error)` of the client sends it
 * again: if they were written, it says so, and otherwise the condition still holds or fails.
 */
export class NoOutcome extends FactwireError {
  constructor(
    message: string,
    readonly facts: { id: string; namespace: string; type: string; payload: unknown }[],
    readonly body: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** A decision would have to read more facts than its limit. */
export class TooManyFacts extends FactwireError {}

/** The transaction of a view is not what it has to be: `apply` has ended it. */
export class TransactionLost extends FactwireError {}

/** Another process moved the cursor of this view: this one has to stop. */
export class TakenOver extends FactwireError {}
