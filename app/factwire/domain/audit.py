"""The audit: every action of management is a fact of a namespace that nobody can publish to."""

from collections.abc import Mapping
from typing import Any

import msgspec

from factwire.domain.fact import RESERVED_NAMESPACE, NewFact, build_fact

ENCODER = msgspec.json.Encoder()


def audit_fact(type: str, *, id: str, by: str, about: str, payload: Mapping[str, Any]) -> NewFact:
    """What was done, by whom (the name of a principal) and to what (`about`, the aggregate id)."""
    body = ENCODER.encode({"by": by, **payload})
    return build_fact(id, RESERVED_NAMESPACE, type, 1, [about], {}, body, chosen_id=False)
