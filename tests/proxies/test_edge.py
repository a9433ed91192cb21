"""What the examples of deploy/ keep from strangers, and what they tell of them."""

import httpx
import pytest

from tests.conftest import StartService
from tests.proxies.conftest import StartProxy

pytestmark = pytest.mark.proxies

LIMIT = 5


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metric%73", "/%6D%65trics"])
async def test_metrics_are_not_passed_on_however_they_are_spelt(
    start_service: StartService, start_proxy: StartProxy, path: str
) -> None:
    service = await start_service(auth="none")
    proxy = await start_proxy(service)
    async with httpx.AsyncClient(base_url=proxy.url, verify=False) as client:
        answer = await client.get(httpx.URL(proxy.url, raw_path=path.encode()))
    assert (answer.status_code, "factwire_" in answer.text) == (404, False)


async def test_a_client_cannot_choose_its_address(start_service: StartService, start_proxy: StartProxy) -> None:
    service = await start_service(
        auth="none", trusted_proxies="127.0.0.1", address_requests_per_second=LIMIT, log_requests=True
    )
    proxy = await start_proxy(service)
    elsewhere = httpx.AsyncHTTPTransport(verify=False, local_address="127.0.0.9")  # the proxy has 127.0.0.1
    async with httpx.AsyncClient(base_url=proxy.url, transport=elsewhere) as client:
        answers = [
            await client.get("/v1/position", headers={"x-forwarded-for": f"198.51.100.{number}"})
            for number in range(4 * LIMIT)
        ]
    assert 429 in [answer.status_code for answer in answers]
    assert "198.51.100." not in service.log


async def test_a_browser_is_told_to_come_over_tls_only(start_service: StartService, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    async with httpx.AsyncClient(base_url=proxy.url, verify=False) as client:
        for path in ("/", "/v1/position", "/v1/nowhere"):
            assert (await client.get(path)).headers["strict-transport-security"] == "max-age=31536000"


async def test_a_service_that_nobody_has_said_is_open_is_not_opened_by_it(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(await start_service())
    async with httpx.AsyncClient(base_url=proxy.url, verify=False) as client:
        assert (await client.get("/v1/facts")).status_code == 403
