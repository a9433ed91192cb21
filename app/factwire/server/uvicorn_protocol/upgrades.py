"""HTTP/1.1 goes on where a client offers to speak something else, as a server may (RFC 9110, 7.8).

The HTTP client of Java offers `Upgrade: h2c` with every request to an http:// address. The parser takes what stands
behind such headers for the other protocol, and uvicorn leaves it at that: the body would be lost (uvicorn issue 2722).
"""

import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

OFFER = frozenset({b"upgrade", b"http2-settings"})


class DowngradingProtocol(HttpToolsProtocol):
    """Reads a request again without the offer that it made."""

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
        """Called where the parser has stopped behind the headers of an offer; its exception says where that is."""
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
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it


def options_of(value: bytes) -> list[bytes]:
    return [option.strip() for option in value.split(b",")]
