"""The backlog: what is under way is bounded in number and in bytes, in all and for each tenant, and is given back."""

import pytest

from factwire.publish.backlog import Backlog
from factwire.publish.batch import Request


def new_request(tenant: str, size: int) -> Request:
    request = Request((), None, 0.0, 0.0, tenant, lambda request, outcome: None)
    request.bytes = size
    return request


@pytest.mark.parametrize(("size", "each", "both"), [(1, 5, 10), (30, 3, 6)], ids=["requests", "bytes"])
def test_a_tenant_has_half_and_all_have_what_there_is(size: int, each: int, both: int) -> None:
    backlog = Backlog(requests_max=10, bytes_max=200, request_bytes_max=100)
    entered = []
    for tenant in ("a", "b", "c"):
        while True:
            entered.append(new_request(tenant, size))
            if not backlog.enter(entered[-1]):
                backlog.leave(entered.pop())
                break
    assert [request.tenant for request in entered] == ["a"] * each + ["b"] * (both - each)
    assert (backlog.requests, backlog.bytes) == (both, both * size)
    for request in entered:
        backlog.leave(request)
    assert (backlog.requests, backlog.bytes, backlog._by_tenant) == (0, 0, {})


def test_one_request_of_the_largest_size_fits_where_half_is_less() -> None:
    backlog = Backlog(requests_max=10, bytes_max=100, request_bytes_max=100)
    assert backlog.enter(new_request("a", 100))
    assert not backlog.enter(new_request("b", 1))
