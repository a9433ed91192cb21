"""What is counted, what is refused, and that counting takes bounded memory."""

from ipaddress import ip_network

import pytest

from factwire.domain.errors import RateLimited
from factwire.limits import rate_limiter
from factwire.limits.client_address import Proxies
from factwire.limits.connections import ConnectionLimiter
from factwire.limits.quotas import QuotaLimits, Quotas
from factwire.limits.rate_limiter import BoundedStorage, Rate


class Clock:
    """The time that the windows see."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rate_limiter, "time", made)
    return made


def test_requests_beyond_the_limit_are_refused_until_their_second_is_over(clock: Clock) -> None:
    quotas = Quotas("address", QuotaLimits(requests_per_second=3))
    for _ in range(3):
        quotas.begin("one", 0)
    with pytest.raises(RateLimited) as refused:
        quotas.begin("one", 0)
    assert refused.value.members == {"limit": "address_requests_per_second", "retry_after_seconds": 1}
    quotas.begin("another", 0)
    clock.now += 1.01
    quotas.begin("one", 0)


def test_a_large_request_is_let_in_while_anything_is_left_and_counts_whole(clock: Clock) -> None:
    quotas = Quotas("principal", QuotaLimits(bytes_per_second=100))
    quotas.begin("one", 5000)
    with pytest.raises(RateLimited) as refused:
        quotas.begin("one", 1)
    assert refused.value.retry_after_seconds == 10
    clock.now += 10.01
    quotas.begin("one", 1)


def test_bytes_of_unknown_number_count_for_the_next_request(clock: Clock) -> None:
    quotas = Quotas("address", QuotaLimits(bytes_per_second=100))
    quotas.begin("one", 0)
    quotas.spend_bytes("one", 1001)
    with pytest.raises(RateLimited):
        quotas.begin("one", 0)


def test_facts_are_limited_apart_from_requests(clock: Clock) -> None:
    quotas = Quotas("address", QuotaLimits(facts_per_second=10))
    quotas.spend_facts("one", 100)
    with pytest.raises(RateLimited):
        quotas.spend_facts("one", 1)
    quotas.begin("one", 0)


def test_seats_are_given_back() -> None:
    quotas = Quotas("address", QuotaLimits(streams_max=2))
    for _ in range(2):
        assert quotas.has_stream_slot("one")
        quotas.take_stream_slot("one")
    assert not quotas.has_stream_slot("one")
    assert quotas.has_stream_slot("another")
    quotas.leave("one")
    assert quotas.has_stream_slot("one")


def test_the_memory_of_a_rate_is_bounded_and_the_newest_are_remembered(clock: Clock) -> None:
    storage = BoundedStorage(windows_max=100)
    for number in range(1000):
        storage.incr(str(number), 10)
    assert len(storage) == 100
    assert storage.get("999") == 1
    assert storage.get("0") == 0


def test_somebody_who_comes_back_is_not_the_oldest(clock: Clock) -> None:
    storage = BoundedStorage(windows_max=2)
    storage.incr("first", 1)
    storage.incr("second", 10)
    clock.now += 2
    storage.incr("first", 10)
    storage.incr("third", 10)
    assert (storage.get("first"), storage.get("second"), storage.get("third")) == (1, 0, 1)


def test_a_window_that_is_over_counts_for_nothing(clock: Clock) -> None:
    rate = Rate("name", 5, window_seconds=1, users_max=10)
    assert rate.take("one", 5)
    assert not rate.take("one")
    clock.now += 1.01
    assert rate.seconds_left("one") == 0
    assert rate.take("one")


def test_connections_beyond_either_limit_are_refused_and_leaving_makes_room() -> None:
    connection_limiter = ConnectionLimiter(connections_max=3, address_connections_max=2, proxies=Proxies(()))
    assert [connection_limiter.admit("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [connection_limiter.admit("192.0.2.2") for _ in range(2)] == [True, False]
    connection_limiter.leave("192.0.2.1")
    assert connection_limiter.admit("192.0.2.2")
    assert (connection_limiter.open, connection_limiter.refused) == (3, 2)


def test_a_trusted_proxy_may_have_any_number_of_connections() -> None:
    connection_limiter = ConnectionLimiter(
        connections_max=9, address_connections_max=1, proxies=Proxies([ip_network("192.0.2.0/24")])
    )
    assert all(connection_limiter.admit("192.0.2.1") for _ in range(9))
    assert not connection_limiter.admit("192.0.2.1")
