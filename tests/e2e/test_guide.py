"""/llms.txt: its commands run as they stand, in the order of the text; and the icon that browsers ask for."""

import re

import httpx

from tests.conftest import StartService
from tests.recipes.programs import run

COMMAND = re.compile(r"^    (curl .*)$", re.MULTILINE)


async def test_the_commands_of_the_guide_run(start_service: StartService) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.get("/llms.txt")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        for path in re.findall(r"\]\((/[^)]*)\)", answer.text):
            assert (await client.get(path)).status_code == 200
    answers = []
    for command in COMMAND.findall(answer.text):
        _, said = await run(["bash", "-c", f"URL={service.url}; {command} --silent --noproxy '*'"])
        answers.append(said)
    published, paid, read, followed, subscribed, claimed = answers
    assert '"position":1' in published
    assert '"position":2' in paid
    assert '"type":"OrderPlaced"' in read
    assert followed.count('"namespace":"shop"') == 2
    assert '"state":"active"' in subscribed
    assert '"lease":' in claimed


async def test_browsers_find_an_icon(client: httpx.AsyncClient) -> None:
    answer = await client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
