"""Who makes a request."""

from dataclasses import dataclass

from app.domain.grants import EVERYTHING, Grants


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, or some program, and what they may do.

    `name` says who it is in logs and in the audit, and is no secret. `expires_at` is when the credentials end, in
    seconds since 1970; None where they do not.
    """

    name: str
    grants: Grants
    expires_at: float | None = None


ANYBODY = Principal("anybody", EVERYTHING)
