"""An issuer of tokens on a real socket: it signs, publishes and rotates its keys, and can be made to misbehave."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from factwire.auth.jwt import PinnedAlgorithms

AUDIENCE = "https://facts.example"
KINDS: dict[str, tuple[type[RSAKey | ECKey | OKPKey], Any]] = {
    "RS256": (RSAKey, 2048),
    "ES256": (ECKey, "P-256"),
    "EdDSA": (OKPKey, "Ed25519"),
    "Ed25519": (OKPKey, "Ed25519"),
}

SigningKey = RSAKey | ECKey | OKPKey


def new_key(algorithm: str, kid: str, **parameters: Any) -> SigningKey:
    kind, size = KINDS[algorithm]
    told: Any = {"kid": kid, "use": "sig", "alg": algorithm} | parameters
    return kind.generate_key(size, told)


@dataclass
class IssuerServer:
    """Serves its configuration and its keys; `asked` counts the answers that were asked for by path."""

    keys: list[SigningKey] = field(default_factory=lambda: [new_key("ES256", "first")])
    behaviour: Literal["answer", "hang", "fail", "flood", "redirect"] = "answer"
    asked: dict[str, int] = field(default_factory=dict)
    audience: str = AUDIENCE
    named: str = ""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys_asked(self) -> int:
        return self.asked.get("/keys", 0)

    def token(self, key: SigningKey | None = None, algorithm: str = "", /, *, header: Any = None, **claims: Any) -> str:
        """A signed token; a claim that is None is left out."""
        key = key or self.keys[0]
        now = int(time.time())
        given = {"iss": self.url, "aud": self.audience, "sub": "alice", "iat": now, "exp": now + 300} | claims
        algorithm = algorithm or str(key.get("alg"))
        told = {"alg": algorithm, "kid": key.kid} | (header or {})
        return jwt.encode(
            told,
            {k: v for k, v in given.items() if v is not None},
            key,
            registry=PinnedAlgorithms(algorithms=[algorithm]),
        )

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._open: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            self.asked[path] = self.asked.get(path, 0) + 1
            if self.behaviour == "hang":
                await reader.read()
            else:
                await self._write(path, writer)
        writer.close()
        self._open.discard(writer)

    async def _write(self, path: str, writer: asyncio.StreamWriter) -> None:
        if self.behaviour == "flood":
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            for _ in range(1000):
                writer.write(b" " * 65536)
                await writer.drain()
            return
        status = {"answer": "200 OK", "fail": "500 Failed", "redirect": "302 Found"}[self.behaviour]
        body = json.dumps(self._document(path)).encode()
        head = f"HTTP/1.1 {status}\r\nlocation: {self.url}/keys\r\ncontent-length: {len(body)}\r\nconnection: close"
        writer.write(f"{head}\r\n\r\n".encode() + body)
        await writer.drain()

    def _document(self, path: str) -> dict[str, Any]:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [key.as_dict(private=False) for key in self.keys]}
