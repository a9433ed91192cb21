// Refusals by problem code, written by clients/generate.py from docs/problems.md.

import { Problem } from "./errors.js";

export class BodyTooLarge extends Problem {}
export class ConditionFailed extends Problem {}
export class ConditionTooExpensive extends Problem {}
export class CrossOrigin extends Problem {}
export class CursorAhead extends Problem {}
export class CursorExpired extends Problem {}
export class CursorForked extends Problem {}
export class DataSubjectErased extends Problem {}
export class DataSubjectNotFound extends Problem {}
export class EarlierOpen extends Problem {}
export class EncryptionNotConfigured extends Problem {}
export class FactIdConflict extends Problem {}
export class FactNotFound extends Problem {}
export class FactReserved extends Problem {}
export class Forbidden extends Problem {}
export class HeadersTooLarge extends Problem {}
export class HistoryForked extends Problem {}
export class InternalError extends Problem {}
export class InvalidRequest extends Problem {}
export class KeyNotFound extends Problem {}
export class KeyUnavailable extends Problem {}
export class LeaseLost extends Problem {}
export class LimitExceeded extends Problem {}
export class LogDamaged extends Problem {}
export class MalformedBody extends Problem {}
export class MalformedJson extends Problem {}
export class MalformedParameter extends Problem {}
export class MalformedRequest extends Problem {}
export class MethodNotAllowed extends Problem {}
export class NamespaceNotFound extends Problem {}
export class NotFound extends Problem {}
export class OutcomeUnknown extends Problem {}
export class RateLimited extends Problem {}
export class RequestTimeout extends Problem {}
export class StandbyBehind extends Problem {}
export class SubscriptionDiffers extends Problem {}
export class SubscriptionNotFound extends Problem {}
export class TypeNotFound extends Problem {}
export class Unauthenticated extends Problem {}
export class Unavailable extends Problem {}
export class UnknownParameter extends Problem {}
export class UnsupportedContentCoding extends Problem {}
export class UnsupportedMediaType extends Problem {}
export class WrongHost extends Problem {}

export const byCode = new Map<string, typeof Problem>([
  ["body-too-large", BodyTooLarge],
  ["condition-failed", ConditionFailed],
  ["condition-too-expensive", ConditionTooExpensive],
  ["cross-origin", CrossOrigin],
  ["cursor-ahead", CursorAhead],
  ["cursor-expired", CursorExpired],
  ["cursor-forked", CursorForked],
  ["data-subject-erased", DataSubjectErased],
  ["data-subject-not-found", DataSubjectNotFound],
  ["earlier-open", EarlierOpen],
  ["encryption-not-configured", EncryptionNotConfigured],
  ["fact-id-conflict", FactIdConflict],
  ["fact-not-found", FactNotFound],
  ["fact-reserved", FactReserved],
  ["forbidden", Forbidden],
  ["headers-too-large", HeadersTooLarge],
  ["history-forked", HistoryForked],
  ["internal-error", InternalError],
  ["invalid-request", InvalidRequest],
  ["key-not-found", KeyNotFound],
  ["key-unavailable", KeyUnavailable],
  ["lease-lost", LeaseLost],
  ["limit-exceeded", LimitExceeded],
  ["log-damaged", LogDamaged],
  ["malformed-body", MalformedBody],
  ["malformed-json", MalformedJson],
  ["malformed-parameter", MalformedParameter],
  ["malformed-request", MalformedRequest],
  ["method-not-allowed", MethodNotAllowed],
  ["namespace-not-found", NamespaceNotFound],
  ["not-found", NotFound],
  ["outcome-unknown", OutcomeUnknown],
  ["rate-limited", RateLimited],
  ["request-timeout", RequestTimeout],
  ["standby-behind", StandbyBehind],
  ["subscription-differs", SubscriptionDiffers],
  ["subscription-not-found", SubscriptionNotFound],
  ["type-not-found", TypeNotFound],
  ["unauthenticated", Unauthenticated],
  ["unavailable", Unavailable],
  ["unknown-parameter", UnknownParameter],
  ["unsupported-content-coding", UnsupportedContentCoding],
  ["unsupported-media-type", UnsupportedMediaType],
  ["wrong-host", WrongHost],
]);
