"""docs/recipes/withdraw.py: whoever else withdraws, and whatever answer is lost, no money is spent twice."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import altered, publish, published, python, run
from tests.support.builders import Fact, new_fact
from tests.support.waiting import until

CLIENTS = 10
CONDITION = "log.decide(movements, decide, attempts=ATTEMPTS)"
NO_CONDITION = "log.publish_all([decide(list(log.read(movements)))])"


def deposit(amount: int, account: str = "account-1") -> Fact:
    return new_fact(
        namespace="bank", type="MoneyDeposited", aggregate_ids=[account], meta={}, payload={"amount": amount}
    )


def command(url: str, *arguments: object) -> list[str]:
    return python("recipes/withdraw.py", url, "account-1", *arguments)


async def withdrawals(url: str) -> list[int]:
    facts = await published(url, "bank")
    return [fact["payload"]["amount"] for fact in facts if fact["type"] == "MoneyWithdrawn"]


async def test_what_is_there_is_withdrawn_and_no_more(start_service: StartService) -> None:
    service = await start_service()
    await publish(service.url, deposit(100), deposit(1000, "account-2"))
    assert await run(command(service.url, 70)) == (0, "withdrawn\n")
    assert await run(command(service.url, 31)) == (1, "refused: the balance is 30\n")
    assert await run(command(service.url, 0)) == (1, "refused: the balance is 30\n")
    assert await run(command(service.url, 30)) == (0, "withdrawn\n")
    assert await withdrawals(service.url) == [70, 30]


async def test_facts_of_more_pages_than_one_are_counted(start_service: StartService) -> None:
    service = await start_service(page_facts_max=500)
    await publish(service.url, *[deposit(1) for _ in range(250)])
    assert await run(command(service.url, 251)) == (1, "refused: the balance is 250\n")
    assert await run(command(service.url, 250)) == (0, "withdrawn\n")


@pytest.mark.parametrize("conditional", [True, False])
async def test_many_that_saw_the_same_balance_withdraw_what_is_there(
    start_service: StartService, tmp_path: Path, conditional: bool
) -> None:
    """Without the condition all of them would."""
    service = await start_service()
    await publish(service.url, deposit(100))
    async with relaying(service.port) as (relay, url):
        relay.publishing.clear()
        withdraw = command(url, 30)
        if not conditional:
            withdraw = altered(withdraw, CONDITION, NO_CONDITION, directory=tmp_path)
        running = [asyncio.create_task(run(withdraw)) for _ in range(CLIENTS)]
        await until(lambda: relay.publishes == CLIENTS)
        relay.publishing.set()
        said = Counter(await asyncio.gather(*running))
    if conditional:
        assert said == {(0, "withdrawn\n"): 3, (1, "refused: the balance is 10\n"): CLIENTS - 3}
        assert await withdrawals(service.url) == [30] * 3
    else:
        assert await withdrawals(service.url) == [30] * CLIENTS


async def test_a_lost_answer_withdraws_once(start_service: StartService) -> None:
    service = await start_service()
    await publish(service.url, deposit(100))
    async with relaying(service.port) as (relay, url):
        relay.publishing.clear()
        withdrawing = asyncio.create_task(run(command(url, 30)))
        await until(lambda: relay.publishes == 1)
        relay.publishes_to_lose = 1
        relay.publishing.set()
        assert await withdrawing == (0, "withdrawn\n")
        assert relay.cut == 1
    assert await withdrawals(service.url) == [30]


async def test_many_whose_answers_are_lost_withdraw_what_they_say(start_service: StartService) -> None:
    service = await start_service()
    await publish(service.url, deposit(100))
    async with relaying(service.port) as (relay, url):
        relay.publishing.clear()
        running = [asyncio.create_task(run(command(url, 10))) for _ in range(CLIENTS)]
        await until(lambda: relay.publishes == CLIENTS)
        relay.publishes_to_lose = CLIENTS
        relay.publishing.set()
        assert await asyncio.gather(*running) == [(0, "withdrawn\n")] * CLIENTS
        assert relay.cut == CLIENTS
    assert await withdrawals(service.url) == [10] * CLIENTS


async def test_started_again_with_its_id_it_does_not_withdraw_again(start_service: StartService) -> None:
    service = await start_service()
    await publish(service.url, deposit(100))
    withdrawal = str(uuid4()).upper()
    for _ in range(2):
        assert await run(command(service.url, 100, withdrawal)) == (0, "withdrawn\n")
    assert await withdrawals(service.url) == [100]


async def test_a_problem_that_would_come_back_ends_it(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    code, said = await run(command(service.url, 30))
    assert code == 1
    assert "urn:factwire:problem:unauthenticated" in said
