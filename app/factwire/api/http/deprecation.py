"""Deprecation: the headers by which the answers of an operation announce that it will be removed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import format_datetime

from factwire.api.http.direct_response import Headers


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Announcement that an operation is deprecated since one day, and is not there any more from another day on.

    `policy` is a path of the documentation that says what to use instead.
    """

    since: date
    sunset: date
    policy: str

    @property
    def headers(self) -> Headers:
        """Headers `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link`, of every answer."""
        since, sunset = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (self.since, self.sunset))
        return (
            (b"deprecation", b"@%d" % since.timestamp()),
            (b"sunset", format_datetime(sunset, usegmt=True).encode()),
            (b"link", f'<{self.policy}>; rel="deprecation"; type="text/markdown"'.encode()),
        )
