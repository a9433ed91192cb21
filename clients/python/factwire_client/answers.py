"""Errors from answers of the service, or of what stands before it."""

from __future__ import annotations

import json

import httpx

from . import problems
from .errors import Problem, UnexpectedAnswer


def problem_of(response: httpx.Response) -> Problem:
    """The error of an answer that has been read and is no success."""
    try:
        members = json.loads(response.content)
        code = str(members["type"]).rpartition("urn:factwire:problem:")[2]
    except (ValueError, KeyError, TypeError):
        detail = f"{response.url.copy_with(query=None)} answered {response.status_code} {response.reason_phrase}"
        return UnexpectedAnswer(response.status_code, {"detail": detail}, text=response.text)
    return problems.BY_CODE.get(code, Problem)(response.status_code, members, text=response.text)
