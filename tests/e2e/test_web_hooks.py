"""The handshake of CloudEvents web hooks: a sender asks, and is answered as the operator has decided."""

import httpx
import pytest

from tests.conftest import StartService

PATH = "/v1/facts/cloudevents"


@pytest.mark.parametrize(
    ("allowed", "sender", "status"),
    [
        ("eventgrid.azure.net, other.example", "eventgrid.azure.net", 200),
        ("*", "anybody.example", 200),
        ("eventgrid.azure.net", "evil.example", 405),
        ("eventgrid.azure.net", "", 405),
        (None, "eventgrid.azure.net", 405),
    ],
)
async def test_a_sender_may_deliver_if_the_operator_names_it(
    start_service: StartService, allowed: str | None, sender: str, status: int
) -> None:
    service = await start_service(**({} if allowed is None else {"webhook_origins": allowed}))
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as client:
        headers = {"webhook-request-rate": "120", **({"webhook-request-origin": sender} if sender else {})}
        answer = await client.options(PATH, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["webhook-allowed-origin"] == sender
        assert answer.headers["webhook-allowed-rate"] == "*"
        assert "POST" in answer.headers["allow"]
    else:
        assert "webhook-allowed-origin" not in answer.headers
