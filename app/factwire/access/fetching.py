"""Fetching a small JSON document of an issuer, bounded in size and in time."""

import asyncio
import json
from typing import Any

import httpx

from factwire.setting_values import check_address
from factwire.telemetry.logs import said

DOCUMENT_BYTES_MAX = 256 * 1024
FETCH_SECONDS = 5.0

# Compressed, a small answer could become a large document.
HEADERS = {"accept": "application/json", "accept-encoding": "identity"}


class FetchFailed(Exception):
    """The document could not be had; the message says why."""


async def fetch_document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """The JSON object at a URL, which is asked once and without following redirects. Raises FetchFailed."""
    try:
        check_address(url)
        async with asyncio.timeout(FETCH_SECONDS):
            document = json.loads(await read(client, url))
    except TimeoutError:
        raise FetchFailed(f"{url} did not answer within {FETCH_SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise FetchFailed(f"{url}: {said(error)}") from None
    if not isinstance(document, dict):
        raise FetchFailed(f"{url} is no JSON object")
    return document


async def read(client: httpx.AsyncClient, url: str) -> bytes:
    body = b""
    async with client.stream("GET", url, headers=HEADERS, follow_redirects=False, timeout=FETCH_SECONDS) as answer:
        if answer.status_code != 200:
            raise FetchFailed(f"{url} answered {answer.status_code}")
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > DOCUMENT_BYTES_MAX:
                raise FetchFailed(f"{url} is larger than {DOCUMENT_BYTES_MAX} bytes")
    return body
