"""Times in requests: the date-times of RFC 3339, and nothing else that ISO 8601 allows."""

from datetime import UTC, datetime, timedelta

import pytest

from factwire.api.http.query_parameters import parse_time

MOMENT = datetime(2026, 11, 29, 5, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-29T05:00:00Z", MOMENT),
        ("2026-11-29t05:00:00z", MOMENT),
        ("2026-11-29T10:30:00+05:30", MOMENT),
        ("2026-11-28T22:00:00-07:00", MOMENT),
        ("2026-11-29T05:00:00.5Z", MOMENT + timedelta(milliseconds=500)),
        ("2026-11-29T05:00:00.1234569Z", MOMENT + timedelta(microseconds=123_456)),
        ("2026-11-29T05:00:60Z", MOMENT + timedelta(seconds=59, microseconds=999_999)),
        ("2026-11-29T05:00:60.25Z", MOMENT + timedelta(seconds=59, microseconds=999_999)),
    ],
)
def test_a_date_time_of_rfc_3339_is_read(text: str, time: datetime) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "2026-W48-7T05:00:00Z",
        "2026-11-29T05:00:00,5Z",
        "2026-11-29 05:00:00Z",
        "20261129T050000Z",
        "2026-11-29T05:00:00",
        "2026-11-29T05:00Z",
        "2026-11-29T05:00:00.Z",
        "2026-11-29T05:00:00+0100",
        "2026-11-29T05:00:00+01",
        "2026-11-29T05:00:00+01:00:30",
        "2026-11-29T05:00:00+01:60",
        "2026-11-29T05:00:00+24:00",
        "2026-11-29T24:00:00Z",
        "2026-11-29T05:00:61Z",
        "2026-02-30T05:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-29T05:00:00Z\n",
        "٢026-11-29T05:00:00Z",
        "-2026-11-29T05:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as 2026-01-31T12:00:00Z"):
        parse_time(text)
