"""Grants in their JSON form: `{"read": {"include": ["loans.*"], "exclude": ["loans.internal"]}}`."""

from typing import Any

from factwire.domain.grants import Grants, Namespaces, new_namespaces
from factwire.domain.limits import VALUES_MAX

ACTIONS = ("publish", "read", "manage")


def grants_from(form: Any) -> Grants:
    """Raises ValueError where it says something else than which namespaces are granted for what."""
    if not isinstance(form, dict) or not form.keys() <= set(ACTIONS):
        raise ValueError(f"expected an object with {', '.join(ACTIONS)}")
    return Grants(**{action: namespaces_from(action, each) for action, each in form.items()})


def namespaces_from(action: str, form: Any) -> Namespaces:
    if not isinstance(form, dict) or not form.keys() <= {"include", "exclude"}:
        raise ValueError(f"{action}: expected an object with include and exclude")
    parts = [form.get(name, []) for name in ("include", "exclude")]
    if not all(isinstance(part, list | tuple) and all(isinstance(pattern, str) for pattern in part) for part in parts):
        raise ValueError(f"{action}: expected lists of patterns")
    if any(len(part) > VALUES_MAX for part in parts):
        raise ValueError(f"{action}: expected at most {VALUES_MAX} patterns in a list")
    return new_namespaces(*parts)


def form_of(grants: Grants) -> dict[str, Any]:
    """Without what says nothing. What is excluded is kept also where nothing is included: it may be included elsewhere.

    `manage` of `factwire` lets its reading in, for example, and `read` may keep it out.
    """
    return {
        action: {"include": list(granted.include), "exclude": list(granted.exclude)}
        for action in ACTIONS
        if (granted := getattr(grants, action)) != Namespaces()
    }
