"""Erasure: destroy the data key of a data subject, or remove the payload of one fact (redaction)."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.models import ErasedDataSubject, Redaction, RedactionBody
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import EXAMPLE_ID, operation
from factwire.domain import errors
from factwire.domain.errors import DataSubjectNotFound, MalformedParameter
from factwire.domain.fact import check_text, invalid_field, is_name
from factwire.domain.position import FACT_ID

router = new_router("erasure")

REDACTION = Decoder(RedactionBody)


@router.delete(
    "/v1/data-subjects/{id}",
    **operation(
        "erase",
        "Destroy the key of a data subject: the payloads of its facts are lost permanently.",
        description=(
            "The payloads of all facts about the data subject become null, everywhere and permanently, and "
            "no fact can be published about it any more. Repeating the request gets the same answer."
        ),
        rule=Rule.MANAGE,
        path_parameters={"id": "customer-7f3a"},
        result=ErasedDataSubject,
        result_example="erased",
        problems=(
            errors.DataSubjectNotFound,
            errors.UnknownParameter,
            errors.Unavailable,
            errors.OutcomeUnknown,
        ),
    ),
)
async def erase(request: Request) -> Response:
    parameters_of(request)
    data_subject = request.path_params["id"]
    if not is_name(data_subject):
        raise DataSubjectNotFound(f"There is no data subject {data_subject}.")
    erasure = await context_of(request).erasing.erase_data_subject(data_subject, by=principal_of(request))
    return answer(ErasedDataSubject(erasure.id, erasure.at))


@router.post(
    "/v1/facts/{id}/redaction",
    **operation(
        "redact",
        "Take the payload out of a fact.",
        description=(
            "The payload becomes null, everywhere and permanently; position, id, type, aggregate ids and "
            "meta stay. Repeating the request gets the same answer."
        ),
        rule=Rule.MANAGE_FACTS,
        path_parameters={"id": EXAMPLE_ID},
        body=RedactionBody,
        body_example="redaction",
        result=Redaction,
        result_example="redacted",
        problems=(
            errors.MalformedJson,
            errors.MalformedParameter,
            errors.RequestTimeout,
            errors.FactNotFound,
            errors.FactReserved,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidRequest,
            errors.UnknownParameter,
            errors.Unavailable,
            errors.OutcomeUnknown,
        ),
    ),
)
async def redact(request: Request) -> Response:
    context = context_of(request)
    parameters_of(request)
    id = request.path_params["id"]
    if not FACT_ID.fullmatch(id):
        raise MalformedParameter("id", "expected the id of a fact, a UUID")
    body, _ = REDACTION.decode(await context.bodies.read_json(request))
    if not body.reason.strip():
        raise invalid_field("/reason", "expected a reason")
    check_text(body.reason, "/reason")
    done = await context.erasing.redact_fact(id.lower(), reason=body.reason, by=principal_of(request))
    return answer(Redaction(done.id, done.position or 0, done.reason, done.at))


def answer(result: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(result), media_type=JSON, headers={"cache-control": "no-store"})
