"""Audit: every management action is a fact in a namespace that no client can publish to."""

from collections.abc import Mapping
from typing import Any

import msgspec

from factwire.domain.fact import RESERVED_NAMESPACE, NewFact, build_fact

ENCODER = msgspec.json.Encoder()


def audit_fact(type: str, *, id: str, by: str, about: str, payload: Mapping[str, Any]) -> NewFact:
    """Fact about an action, its author (`by`, the name of a principal) and its object (`about`, the aggregate id)."""
    body = ENCODER.encode({"by": by, **payload})
    return build_fact(id, RESERVED_NAMESPACE, type, 1, [about], {}, body, chosen_id=False)
