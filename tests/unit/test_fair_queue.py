"""The queue of publishes: an order within each tenant, turns by cost between them, and nothing lost on the way."""

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from factwire.publish.batch import REQUEST_COST, Request
from factwire.publish.fair_queue import FairQueue, QueueTurn

TENANTS = ("a", "b", "c")
ROUNDING = 1e-6


def new_request(tenant: str, postings: int = 1) -> Request:
    request = Request((), None, 0.0, 0.0, tenant, lambda request, outcome: None)
    request.postings = postings
    return request


def queue_of(*requests: Request) -> FairQueue:
    queue = FairQueue()
    for request in requests:
        queue.append(request)
    return queue


def taken(
    queue: FairQueue, count: int = 10_000, *, hold: Callable[[Request], bool] = lambda request: False
) -> list[Request]:
    """The next requests that go, of those that are not held."""
    gone: list[Request] = []

    def ask(request: Request) -> QueueTurn:
        if len(gone) == count:
            return QueueTurn.STOP
        if hold(request):
            return QueueTurn.HOLD
        gone.append(request)
        return QueueTurn.TAKE

    queue.take(ask)
    return gone


def tenants(requests: list[Request]) -> str:
    return "".join(request.tenant for request in requests)


def test_a_tenant_alone_is_served_in_the_order_of_arrival() -> None:
    requests = [new_request("a", postings) for postings in (5, 1, 900, 1, 1)]
    assert taken(queue_of(*requests)) == requests


def test_tenants_with_equal_requests_take_turns_however_many_one_of_them_has() -> None:
    queue = queue_of(*(new_request("a") for _ in range(100)), *(new_request("b") for _ in range(3)))
    assert tenants(taken(queue, 8)) == "abababaa"


def test_a_tenant_with_large_requests_gets_the_same_share_and_not_the_same_turns() -> None:
    large, small = 96, 6
    requests = [new_request("a", large) for _ in range(10)] + [new_request("b", small) for _ in range(100)]
    assert tenants(taken(queue_of(*requests), 44)) == "a" + "b" * 10 + "ab" + "b" * 9 + "ab" + "b" * 9 + "ab" + "b" * 9


def test_a_tenant_that_comes_later_is_not_behind_those_that_waited_and_has_saved_nothing() -> None:
    queue = queue_of(*(new_request("a") for _ in range(100)))
    taken(queue, 50)
    for _ in range(10):
        queue.append(new_request("b"))
    assert tenants(taken(queue, 9)) == "babababab"


def test_what_has_to_wait_lets_only_its_own_tenant_wait() -> None:
    held, later, other, last = new_request("a"), new_request("a"), new_request("b"), new_request("c")
    queue = queue_of(held, later, other, last)
    assert taken(queue, hold=lambda request: request is held) == [other, last]
    assert taken(queue) == [held, later]
    assert not queue


def test_a_request_that_comes_back_goes_first_of_its_tenant_and_pays_again() -> None:
    back, later = new_request("a", 100), new_request("a")
    queue = queue_of(back, later, *(new_request("b", 25) for _ in range(20)))
    assert taken(queue, 1) == [back]
    queue.return_first(back)
    assert tenants(taken(queue, 5)) == "bbbba"
    queue.return_first(back)
    rest = taken(queue)
    assert [place for place, request in enumerate(rest) if request.tenant == "a"] == [4, 8]
    assert (rest[4], rest[8]) == (back, later)


def test_what_a_tenant_is_charged_puts_off_its_next_request() -> None:
    queue = queue_of(*(new_request("a") for _ in range(3)), *(new_request("b") for _ in range(30)))
    assert tenants(taken(queue, 2)) == "ab"
    queue.charge("a", 10 * (REQUEST_COST + 1))
    assert tenants(taken(queue, 12)) == "b" * 10 + "ab"


def test_what_nobody_waits_for_any_more_costs_its_tenant_nothing() -> None:
    gone = [new_request("a", 1000) for _ in range(10)]
    stays = new_request("a")
    queue = queue_of(*gone, stays, new_request("b"))
    asked: list[Request] = []

    def ask(request: Request) -> QueueTurn:
        asked.append(request)
        return QueueTurn.DROP if request in gone else QueueTurn.TAKE

    queue.take(ask)
    assert tenants(asked) == "a" * 11 + "b"


def test_a_tenant_without_requests_that_owes_nothing_is_forgotten() -> None:
    queue = queue_of(*(new_request(f"tenant-{number}") for number in range(1000)))
    taken(queue)
    assert len(queue._lines) == 0
    # One that was ahead of its time is remembered until that has come, while others wait.
    for _ in range(100):
        queue.append(new_request("b"))
    queue.append(new_request("a", 50))
    taken(queue, 2)
    assert set(queue._lines) == {"a", "b"}
    taken(queue, 50)
    assert set(queue._lines) == {"b"}
    taken(queue)
    assert not queue._lines


@given(
    costs=st.fixed_dictionaries(
        {tenant: st.lists(st.integers(0, 1000), min_size=1, max_size=40) for tenant in TENANTS}
    ),
    steps=st.lists(st.integers(1, 7), max_size=20),
)
@settings(deadline=None)
def test_no_tenant_that_waits_gets_more_than_another_by_more_than_one_request_of_each(
    costs: dict[str, list[int]], steps: list[int]
) -> None:
    """The bound of start-time fair queueing, over every stretch from the start in which all of them wait."""
    requests = [new_request(tenant, postings) for tenant, each in costs.items() for postings in each]
    queue = queue_of(*requests)
    left = Counter(request.tenant for request in requests)
    largest = {tenant: max(each) + REQUEST_COST for tenant, each in costs.items()}
    served = dict.fromkeys(TENANTS, 0.0)
    for count in [*steps, len(requests)]:
        for request in taken(queue, count):
            if min(left.values()) == 0:
                return
            served[request.tenant] += request.cost
            left[request.tenant] -= 1
            if min(left.values()) > 0:
                for one in TENANTS:
                    for other in TENANTS:
                        assert served[one] - served[other] <= largest[one] + largest[other] + ROUNDING


class Model(RuleBasedStateMachine):
    """A list of waiting requests for each tenant, and the time at which the first of them may start."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue()
        self.waiting: dict[str, list[Request]] = {tenant: [] for tenant in TENANTS}
        self.starts: dict[str, float] = {}
        self.now = 0.0
        self.gone: list[Request] = []

    def arrive(self, tenant: str) -> None:
        if not self.waiting[tenant]:
            self.starts[tenant] = max(self.starts.get(tenant, self.now), self.now)

    @rule(tenant=st.sampled_from(TENANTS), postings=st.integers(0, 50))
    def append(self, tenant: str, postings: int) -> None:
        request = new_request(tenant, postings)
        self.arrive(tenant)
        self.queue.append(request)
        self.waiting[tenant].append(request)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def return_first(self, data: st.DataObject) -> None:
        request = self.gone.pop(data.draw(st.integers(0, len(self.gone) - 1)))
        self.arrive(request.tenant)
        self.queue.return_first(request)
        self.waiting[request.tenant].insert(0, request)

    @rule(tenant=st.sampled_from(TENANTS), cost=st.integers(0, 100))
    def charge(self, tenant: str, cost: int) -> None:
        self.queue.charge(tenant, cost)
        if tenant in self.starts:
            self.starts[tenant] += cost

    @rule(turns=st.lists(st.sampled_from(QueueTurn), max_size=12))
    def take(self, turns: list[QueueTurn]) -> None:
        """Answer as drawn, and then stop."""
        answers = iter(turns)
        held: set[str] = set()
        stopped = False

        def ask(request: Request) -> QueueTurn:
            nonlocal stopped
            assert not stopped
            able = {tenant for tenant in TENANTS if self.waiting[tenant] and tenant not in held}
            assert request.tenant in able
            assert request is self.waiting[request.tenant][0]
            assert self.starts[request.tenant] == min(self.starts[tenant] for tenant in able)
            turn = next(answers, QueueTurn.STOP)
            match turn:
                case QueueTurn.TAKE:
                    self.gone.append(self.waiting[request.tenant].pop(0))
                    self.now = max(self.now, self.starts[request.tenant])
                    self.starts[request.tenant] += request.cost
                case QueueTurn.DROP:
                    self.waiting[request.tenant].pop(0)
                case QueueTurn.HOLD:
                    held.add(request.tenant)
                case QueueTurn.STOP:
                    stopped = True
            return turn

        self.queue.take(ask)
        assert stopped or all(tenant in held for tenant in TENANTS if self.waiting[tenant])
        if not any(self.waiting.values()):
            self.starts, self.now = {}, 0.0
        self.starts = {
            tenant: start for tenant, start in self.starts.items() if self.waiting[tenant] or start > self.now
        }

    @invariant()
    def has_what_waits(self) -> None:
        assert bool(self.queue) == any(self.waiting.values())
        assert set(self.queue._lines) == set(self.starts)

    def teardown(self) -> None:
        """Whatever was left comes, each request once, and those of a tenant in their order."""
        rest = taken(self.queue)
        for tenant in TENANTS:
            assert [request for request in rest if request.tenant == tenant] == self.waiting[tenant]
        assert not self.queue


TestAgainstAModel = Model.TestCase
TestAgainstAModel.settings = settings(deadline=None, max_examples=200, stateful_step_count=40)
