"""Errors from answers of the service, or of what stands before it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx

from . import problems
from .errors import Problem, UnexpectedAnswer

PREFIX = "urn:factwire:problem:"


def problem_of(response: httpx.Response, content: bytes | None = None) -> Problem:
    """The error of an answer that is no success. `content` is its body, if it was read apart."""
    body = response.content if content is None else content
    text = body.decode(errors="replace")
    try:
        members = json.loads(body)
        kind = str(members["type"])
    except (ValueError, KeyError, TypeError):
        kind = ""
    if not kind.startswith(PREFIX):
        detail = f"{response.url.copy_with(query=None)} answered {response.status_code} {response.reason_phrase}"
        return UnexpectedAnswer(response.status_code, {"detail": detail}, text=text)
    code = kind[len(PREFIX) :]
    return problems.BY_CODE.get(code, Problem)(response.status_code, members, text=text)


def decoded(text: bytes | str) -> Any:
    """JSON, with numbers that are too long for an int as Decimal: Python refuses more than 4 300 digits."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=Decimal)
