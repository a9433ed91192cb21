"""docs/recipes/unique_email.py: an address belongs to one user at a time, and is free again once it is given up."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import altered, published, python, run
from tests.support.waiting import until

CLIENTS = 20
CONDITION = "log.decide(about, decide, attempts=ATTEMPTS)"
NO_CONDITION = "log.publish_all(decide(list(log.read(about))))"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the tests")


def command(url: str, user: str, email: str) -> list[str]:
    return python("recipes/unique_email.py", url, user, email)


async def claim(url: str, user: str, email: str) -> str:
    code, said = await run(command(url, user, email))
    assert code == (said != "claimed\n"), said
    return said.strip()


async def history(url: str) -> list[tuple[str, str]]:
    return [(fact["type"], fact["aggregate_ids"][0]) for fact in await published(url, "users")]


@pytest.mark.parametrize("conditional", [True, False])
async def test_of_many_that_saw_an_address_free_one_gets_it(
    start_service: StartService, tmp_path: Path, conditional: bool
) -> None:
    """Without the condition all of them would."""
    service = await start_service()
    async with relaying(service.port) as (relay, url):
        relay.publishing.clear()
        commands = [command(url, f"user-{number}", "ada@example.com") for number in range(CLIENTS)]
        if not conditional:
            commands = [altered(each, CONDITION, NO_CONDITION, directory=tmp_path) for each in commands]
        running = [asyncio.create_task(run(each)) for each in commands]
        await until(lambda: relay.publishes == CLIENTS)
        relay.publishing.set()
        said = Counter(await asyncio.gather(*running))
    claims = await history(service.url)
    if conditional:
        assert said == {(0, "claimed\n"): 1, (1, "taken\n"): CLIENTS - 1}
        assert len(claims) == 1
    else:
        assert said == {(0, "claimed\n"): CLIENTS}
        assert len(claims) == CLIENTS


async def test_an_address_is_free_again_once_its_user_has_another(start_service: StartService) -> None:
    url = (await start_service()).url
    assert await claim(url, "user-1", "ada@example.com") == "claimed"
    assert await claim(url, "user-2", "ADA@example.com") == "taken"
    assert await claim(url, "user-1", "countess@example.com") == "claimed"
    assert await claim(url, "user-2", "ada@example.com") == "claimed"
    assert await claim(url, "user-1", "ada@example.com") == "taken"
    assert await history(url) == [
        ("EmailClaimed", "user-1"),
        ("EmailReleased", "user-1"),
        ("EmailClaimed", "user-1"),
        ("EmailClaimed", "user-2"),
    ]


async def test_a_user_who_takes_two_addresses_at_once_holds_one(start_service: StartService) -> None:
    """The later one releases what the earlier one claimed."""
    service = await start_service()
    async with relaying(service.port) as (relay, url):
        relay.publishing.clear()
        running = [asyncio.create_task(claim(url, "user-1", f"{name}@example.com")) for name in ("ada", "bob")]
        await until(lambda: relay.publishes == 2)
        relay.publishing.set()
        assert await asyncio.gather(*running) == ["claimed", "claimed"]
    assert [type for type, _ in await history(service.url)] == ["EmailClaimed", "EmailReleased", "EmailClaimed"]


async def test_a_lost_answer_claims_once(start_service: StartService) -> None:
    service = await start_service()
    async with relaying(service.port) as (relay, url):
        relay.publishing.clear()
        claiming = asyncio.create_task(claim(url, "user-1", "ada@example.com"))
        await until(lambda: relay.publishes == 1)
        relay.publishes_to_lose = 1
        relay.publishing.set()
        assert await claiming == "claimed"
        assert relay.cut == 1
    assert await history(service.url) == [("EmailClaimed", "user-1")]


async def test_what_facts_are_found_by_shows_no_address(start_service: StartService) -> None:
    url = (await start_service()).url
    await claim(url, "user-1", "ada@example.com")
    await claim(url, "user-1", "countess@example.com")
    facts = await published(url, "users")
    assert not any("@" in tag for fact in facts for tag in (*fact["aggregate_ids"], fact["meta"]["email"]))
    assert [fact["payload"] for fact in facts] == [
        {"email": "ada@example.com"},
        None,
        {"email": "countess@example.com"},
    ]
