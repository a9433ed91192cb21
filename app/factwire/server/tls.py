"""TLS for a service without an ingress: certificate files, TLS reload when they change, time limit of handshakes."""

import asyncio
import logging
import signal
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from factwire.settings import Settings

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0


class CertificateRefused(ValueError):
    """The certificate and its key cannot be used; the message names the setting and the fault."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate and its key. They are read again after a renewal."""

    certificate_file: Path
    key_file: Path | None
    key_password: str | None

    def context(self) -> ssl.SSLContext:
        """New TLS context with this certificate. Raises CertificateRefused."""
        context = new_context()
        self.load_into(context)
        return context

    def renewed_context(self) -> ssl.SSLContext:
        """New TLS context that reads the certificate again at each SIGHUP, also at one that arrives meanwhile."""
        context = new_context()
        signal.signal(signal.SIGHUP, lambda number, frame: reload(self, context))
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the current files into a context; new connections use them. Raises CertificateRefused."""
        for name, path in (("CERTIFICATE", self.certificate_file), ("KEY", self.key_file)):
            if path is not None:
                check_readable(name, path)
        try:
            context.load_cert_chain(self.certificate_file, self.key_file, lambda: self.key_password or "")
        except ssl.SSLError as error:
            locked = b"ENCRYPTED" in (self.key_file or self.certificate_file).read_bytes()
            reason = certificate_refused(error, locked=locked)
            raise CertificateRefused(f"FACTWIRE_TLS_CERTIFICATE_FILE, FACTWIRE_TLS_KEY_FILE: {reason}") from None


def new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def check_readable(name: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise CertificateRefused(f"FACTWIRE_TLS_{name}_FILE: {path}: {error.strerror}") from None


def certificate_refused(error: ssl.SSLError, *, locked: bool) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    if locked:
        return "FACTWIRE_TLS_KEY_PASSWORD does not open the key"
    return "no certificate with its key as PEM"


def certificate_of(settings: Settings) -> Certificate | None:
    if settings.tls_certificate_file is None:
        return None
    password = settings.tls_key_password
    return Certificate(
        settings.tls_certificate_file, settings.tls_key_file, password.get_secret_value() if password else None
    )


def reload(certificate: Certificate, context: ssl.SSLContext) -> None:
    """Load a renewed certificate. A faulty one is logged, and the previous one stays in use."""
    try:
        certificate.context()  # a context that loads only one half of a wrong pair can no longer be used
        certificate.load_into(context)
    except CertificateRefused as error:
        log.error("the certificate could not be reloaded: %s", error)
    else:
        log.info("the certificate was reloaded")


class ImpatientLoop(uvloop.Loop):
    """Event loop with a shorter time limit for the TLS handshake; uvicorn has no setting for it."""

    async def create_server(self, *args: Any, **kwargs: Any) -> asyncio.Server:
        server = await super().create_server(*args, ssl_handshake_timeout=HANDSHAKE_SECONDS, **kwargs)
        return cast(asyncio.Server, server)
