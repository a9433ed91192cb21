export { Factwire, type FactwireEvent, type Following, type Options, type Range } from "./client.js";
export { FactwireError, NoOutcome, Problem, type ProblemMembers, TakenOver, TooManyFacts, TransactionLost, UnexpectedAnswer, Unreachable } from "./errors.js";
export { type AnyQuery, type Bound, type Condition, derivedId, type Fact, type FactOf, Json, type NewFact, type Page, type Payloads, type Published, type Query } from "./facts.js";
export * from "./problems.js";
export { type Claimed, Park, Retry, type Working } from "./work.js";
export { FileView, IndexedDbView, type PgClient, PgView, type SqliteDatabase, SqliteView, type View } from "./views.js";
