// What is sent and what comes back: facts, queries, conditions.

import type { components } from "./models.js";
import { acknowledgementOf, type Claimed } from "./work.js";

type Models = components["schemas"];
export type Bound = string | number;

/** Types of payloads, by `namespace/type`. */
export type Payloads = Record<string, unknown>;

/** A published fact, with the cursor to go on after it. */
export type Fact<Payload = any> = Omit<Models["Fact"], "payload"> & { payload: Payload; cursor: string };

/** The facts of a log whose payloads are typed: narrowed by `fact.type`. A payload is null once it was erased. */
export type FactOf<P extends Payloads> = string extends keyof P
  ? Fact
  : { [K in keyof P & string]: K extends `${infer N}/${infer T}` ? Fact<P[K] | null> & { namespace: N; type: T } : never }[keyof P & string];

/** A fact to publish. Without an `id` it gets a UUIDv7 before the first attempt. */
export type NewFact<P extends Payloads = Payloads> = string extends keyof P
  ? Models["NewFactBody"]
  : { [K in keyof P & string]: K extends `${infer N}/${infer T}` ? Omit<Models["NewFactBody"], "payload"> & { namespace: N; type: T; payload: P[K] } : never }[keyof P & string];

/** A fact matches if every part that is given matches. `after` is for conditions only: the bound of this item. */
export type Query = Models["ConditionItemBody"];

/** A list of queries matches what any of them matches. */
export type AnyQuery = Query | Query[];

export interface Condition {
  fail_if_match?: AnyQuery;
  fail_unless_match?: AnyQuery;
  /** The bound of `fail_if_match`. */
  after?: Bound;
  /** Facts that a worker has, to be acknowledged in the same transaction: both happen, or neither. */
  acknowledge?: Claimed | Claimed[];
}

export type Page<P extends Payloads = Payloads> = Omit<Models["Page"], "facts"> & { facts: FactOf<P>[] };

/** The outcome of a publish. `replayed`: the facts were in the log already, because an earlier attempt arrived. */
export type Published = Models["PublishResult"] & { replayed: boolean };

/** A payload that is JSON text already. It is sent and kept as it is, to the byte. */
export class Json {
  constructor(readonly text: string) {
    JSON.parse(text);
  }
}

const LISTS = ["namespaces", "types", "aggregate_ids", "any_aggregate_id"] as const;

export function itemsOf(query: AnyQuery | undefined): Query[] {
  if (Array.isArray(query) && !query.length) throw new TypeError("a list of queries without any would match every fact: leave it out");
  const items = query === undefined ? [] : Array.isArray(query) ? query : [query];
  for (const item of items)
    for (const name of LISTS)
      if (typeof item[name] === "string") throw new TypeError(`${name}: expected a list, such as ["${item[name]}"]`);
  return items;
}

export function bodyOf(facts: Models["NewFactBody"][], condition: Condition): string {
  const members = facts.map(({ payload, ...fact }) => `${JSON.stringify(fact).slice(0, -1)},"payload":${textOf(payload)}}`);
  const { after, acknowledge, ...items } = condition;
  const acknowledged = acknowledge === undefined ? "" : `,"acknowledge":${JSON.stringify(acknowledgementOf(acknowledge))}`;
  const checked = Object.entries(items).map(([name, query]) => [name, itemsOf(query)]);
  if (after !== undefined && condition.fail_if_match === undefined) throw new TypeError("after is the bound of fail_if_match: give that as well");
  if (!checked.length) return `{"facts":[${members}]${acknowledged}}`;
  return `{"facts":[${members}],"condition":${JSON.stringify({ ...Object.fromEntries(checked), after })}${acknowledged}}`;
}

function textOf(payload: unknown): string {
  const text = payload instanceof Json ? payload.text : JSON.stringify(payload);
  if (text === undefined) throw new TypeError("a payload is JSON: undefined and functions are not");
  return text;
}

/** UUIDv7 of RFC 9562: 48 bits of the time in milliseconds, then random bits. */
export function uuid7(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const time = Date.now();
  for (let at = 0; at < 6; at++) bytes[at] = Math.floor(time / 2 ** (40 - 8 * at));
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  return uuidOf(bytes);
}

function uuidOf(bytes: Uint8Array): string {
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** An id for a fact that follows from another one: the same whenever it is asked for (UUIDv5), so that retries are known. */
export async function derivedId(fact: { id: string }, name: string): Promise<string> {
  const given = fact.id.replaceAll("-", "").match(/../g)!.map((byte) => parseInt(byte, 16));
  const digest = await crypto.subtle.digest("SHA-1", new Uint8Array([...given, ...new TextEncoder().encode(name)]));
  const bytes = new Uint8Array(digest).slice(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  return uuidOf(bytes);
}

export const epochOf = (cursor: string): string => cursor.slice(0, cursor.indexOf(":"));
