"""Upgrade offers: a connection stays with HTTP/1.1 if a client offers another protocol (allowed by RFC 9110, 7.8).

The HTTP client of Java offers `Upgrade: h2c` with every request to an http:// address. The parser takes all data
after such headers for the other protocol, and uvicorn stops there: the body would be lost (uvicorn issue 2722).
"""

import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

OFFER = frozenset({b"upgrade", b"http2-settings"})


class DowngradingProtocol(HttpToolsProtocol):
    """Parses a request again without its upgrade offer."""

    __slots__ = ("_arriving", "_without_offer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving = b""
        self._without_offer = b""

    def data_received(self, data: bytes) -> None:
        self._arriving = data
        super().data_received(data)
        while self._without_offer and not self.transport.is_closing():
            self._arriving, self._without_offer = self._without_offer, b""
            super().data_received(self._arriving)
        self._arriving = b""

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Parse the request again: the parser stopped after the headers of an offer, at the offset in its exception."""
        stopped = sys.exception()
        assert isinstance(stopped, httptools.HttpParserUpgrade)
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is for proxies.")
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(option for option in options_of(value) if option.lower() not in OFFER)
            if name not in OFFER:
                lines.append(b"%b: %b" % (name, value))
        self._without_offer = b"\r\n".join([*lines, b"", self._arriving[stopped.args[0] :]])
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn


def options_of(value: bytes) -> list[bytes]:
    return [option.strip() for option in value.split(b",")]
