"""Every setting, from the environment: FACTWIRE_ and the name in capitals. The unit stands last in the name."""

import re
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from factwire.setting_values import (
    check_address,
    check_database_url,
    is_loopback,
    networks,
    split_commas,
    with_secret_files,
)

MIB = 1024 * 1024
GIB = 1024 * MIB
AUTH_MODES = ("none", "keys", "jwt")
NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}", re.ASCII)
CONTACT = re.compile(r"(mailto:|https://|tel:)[\x21-\x7e]+", re.ASCII)
HOST = re.compile(r"(\*\.)?[A-Za-z0-9_.-]+")
# Neither `none` nor the ones with a shared secret, under which whoever can verify a token can also make one.
SIGNATURE_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")


class Settings(BaseSettings):
    """Built once where the process starts and passed down; nothing below reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix="FACTWIRE_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    database_url: SecretStr | None = None
    """The PostgreSQL that keeps the facts, as libpq takes it. Unset: an embedded one."""
    database_url_file: Path | None = None
    """A file that holds the URL instead, read at the start."""
    listen_url: SecretStr | None = None
    """A direct connection for LISTEN where database_url leads through a pooler. Unset: database_url."""
    listen_url_file: Path | None = None
    """A file that holds it instead."""
    data_dir: Path | None = None
    """The directory of the embedded PostgreSQL. Unset: /var/lib/factwire for root, else the user's data directory."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """The port to listen on; 0 takes a free one."""
    auth: str | None = None
    """How requests say whose they are, by commas: keys, jwt, or none. Unset: none, on loopback addresses only."""
    allowed_hosts: str | None = None
    """Names under which requests come, by commas, beside addresses and localhost; *.example is all below it."""
    trusted_proxies: str | None = None
    """Addresses and networks of proxies, by commas, that tell the address of a client. Unset: none."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The one header in which they tell it."""
    tls_certificate_file: Path | None = None
    """The certificate, and those that lead to its authority, as PEM. Unset: plain HTTP."""
    tls_key_file: Path | None = None
    """Its key, as PEM. Unset: it stands with the certificate."""
    tls_key_password: SecretStr | None = None
    """The password of the key."""
    tls_key_password_file: Path | None = None
    """A file that holds it instead."""
    workers: int = Field(1, ge=1, le=64)
    """Processes on that port. Each follows the log by itself."""
    url: str = "http://127.0.0.1:8000"
    """Where the command line finds the service."""
    key: SecretStr | None = None
    """The key, or the token, with which commands come to the service."""
    key_file: Path | None = None
    """A file that holds it instead."""

    read_connections_max: int = Field(8, ge=2, le=100)
    """Connections of one process for reads; two more manage, three follow the log, one appends and one listens."""
    read_seconds: float = Field(10.0, ge=0.1, le=300)
    """How long one read may take in the database."""
    append_seconds: float = Field(15.0, ge=0.1, le=60)
    """How long one append may take in the database, its wait for the lock included."""
    poll_seconds: float = Field(0.25, ge=0.01, le=10)
    """How often the tail looks for new facts where no notification arrives."""
    ring_bytes_max: int = Field(32 * MIB, ge=MIB, le=16 * GIB)
    """How much of the newest history each process keeps ready for its streams."""

    facts_max: int = Field(1000, ge=1, le=1000)
    """Facts in one publish request."""
    postings_max: int = Field(10_000, ge=400, le=1_000_000)
    """Postings of one publish request: each aggregate id, each meta value and the type of each fact is one."""
    group_postings_max: int = Field(20_000, ge=400, le=1_000_000)
    """Postings that are written under one hold of the append lock, unless one request has more."""
    body_bytes_max: int = Field(4 * MIB, ge=1024, le=256 * MIB)
    """Bytes of one request body; for an import, of one batch."""
    bodies_bytes_max: int = Field(256 * MIB, ge=MIB, le=64 * GIB)
    """Bytes of all request bodies that one process reads at the same time."""
    namespace_types_max: int = Field(100_000, ge=1, le=10_000_000)
    """Types of one namespace; each version of a type is one."""
    principal_namespaces_max: int = Field(50_000, ge=1, le=10_000_000)
    """Namespaces whose first fact one principal has published."""
    payload_bytes_max: int = Field(MIB, ge=2, le=64 * MIB)
    """Bytes of one payload."""
    aggregate_ids_max: int = Field(32, ge=1, le=100)
    """Aggregate ids of one fact."""
    meta_keys_max: int = Field(32, ge=1, le=100)
    """Meta keys of one fact."""
    meta_values_max: int = Field(64, ge=1, le=200)
    """Meta values of one fact, all keys together: each is a posting that is written under the lock."""
    cloudevents_namespace: str | None = None
    """The namespace of CloudEvents that have no extension `namespace`. Unset: they are refused."""
    page_facts_max: int = Field(1000, ge=1, le=1000)
    """Facts of one page: the greatest `limit`."""
    wait_seconds_max: float = Field(50.0, ge=0, le=300)
    """The greatest `wait_seconds` of a long poll; less than what a proxy waits for an answer, often 60 s."""

    publish_wait_seconds: float = Field(30.0, ge=0.1, le=300)
    """How long a publish may wait for its turn."""
    publishes_waiting_max: int = Field(20_000, ge=1, le=1_000_000)
    """Publishes that may wait for their turn in one process."""
    publish_bytes_waiting_max: int = Field(256 * MIB, ge=MIB, le=64 * GIB)
    """Bytes of the publishes that may wait in one process."""
    condition_seconds: float = Field(10.0, ge=0.1, le=300)
    """How long an expensive condition may be evaluated, outside the lock."""

    master_key: SecretStr | None = None
    """Keys in base64 that wrap those of data subjects: the first one from now on, the others until then."""
    master_key_file: Path | None = None
    """A file that holds them instead. Unset, both: facts about data subjects are refused."""

    header_seconds: float = Field(10.0, ge=0.1, le=300)
    """How long a client may take to send the headers of a request."""
    header_bytes_max: int = Field(32 * 1024, ge=1024, le=MIB)
    """Bytes of the headers of one request."""
    headers_max: int = Field(100, ge=10, le=10_000)
    """Header lines of one request."""
    body_seconds: float = Field(30.0, ge=0.1, le=3600)
    """How long a client may take to send a body; in an import, until the next line."""
    keep_alive_seconds: float = Field(75.0, ge=1, le=3600)
    """How long a connection without a request stays open. A proxy must close it first."""

    connections_max: int | None = Field(None, ge=1)
    """Open connections of one process. Unset: FACTWIRE_STREAMS_MAX and 800 more."""
    address_connections_max: int | None = Field(None, ge=1)
    """Open connections from one address; trusted proxies have no such limit. Unset: no limit."""
    address_requests_per_second: int | None = Field(None, ge=1)
    """Requests from one address. Unset: no limit."""
    address_bytes_per_second: int | None = Field(None, ge=1)
    """Bytes of request bodies from one address. Unset: no limit."""
    address_facts_per_second: int | None = Field(None, ge=1)
    """Facts published from one address. Unset: no limit."""
    address_streams_max: int | None = Field(None, ge=1)
    """Open streams from one address. Unset: no limit."""
    principal_requests_per_second: int | None = Field(None, ge=1)
    """Requests of one principal. Unset: no limit."""
    principal_bytes_per_second: int | None = Field(None, ge=1)
    """Bytes of the request bodies of one principal. Unset: no limit."""
    principal_facts_per_second: int | None = Field(None, ge=1)
    """Facts published by one principal. Unset: no limit."""
    principal_streams_max: int | None = Field(None, ge=1)
    """Open streams of one principal. Unset: no limit."""
    principal_sessions_max: int = Field(100, ge=1, le=10_000)
    """Sessions of one principal, in all processes together; one more ends the one that would end first."""

    unread_bytes_max: int = Field(256 * MIB, ge=8 * MIB, le=64 * GIB)
    """Bytes of answers of one process that clients have yet to read; half of it for each principal."""
    queries_bytes_max: int = Field(64 * MIB, ge=MIB, le=64 * GIB)
    """Memory of the queries of open streams and long polls of one process; half of it for each principal."""

    streams_max: int = Field(10_000, ge=1, le=1_000_000)
    """Open streams of one process; beyond it a stream is asked to come back."""
    stream_age_seconds_max: float = Field(3600.0, ge=1, le=7 * 86_400)
    """About how long a stream stays open (give or take a fifth): behind a proxy, a vanished client looks alive."""
    stream_send_seconds: float = Field(20.0, ge=0.1, le=300)
    """How long a client may read nothing before its stream is cut."""
    stream_history_bytes_max: int = Field(256 * MIB, ge=MIB, le=64 * GIB)
    """About how much history all streams of one process may hold in memory."""
    heartbeat_seconds: float = Field(15.0, ge=3, le=60)
    """When a quiet stream gets a sign of life, unless its client asks for another interval."""
    retry_seconds: float = Field(2.0, ge=0.1, le=60)
    """When a client should come back after its stream ended."""
    drain_seconds: float = Field(5.0, ge=0, le=3600)
    """At SIGTERM, over how long the streams end, one after the other."""

    jwt_issuer: str | None = None
    """Whose tokens are taken: their `iss`, to the letter."""
    jwt_audience: str | None = None
    """What a token must have as its `aud`, or among them."""
    jwt_jwks_url: str | None = None
    """Where the issuer's keys are. Unset: as the issuer's /.well-known/openid-configuration says."""
    jwt_algorithms: str = "RS256,ES256,EdDSA,Ed25519"
    """The algorithms that a token may be signed with, by commas; also RS384, RS512, PS256 to PS512, ES384, ES512."""
    jwt_leeway_seconds: int = Field(60, ge=0, le=300)
    """By how much the issuer's clock may differ."""
    jwt_refresh_seconds: float = Field(300.0, ge=1, le=86_400)
    """How often the issuer's keys are fetched; in between only for a token that names an unknown one."""
    jwt_keep_seconds: float = Field(3600.0, ge=1, le=604_800)
    """How long the last keys are trusted while the issuer cannot be reached."""
    jwt_grants_claim: str | None = None
    """The claim that holds grants, as JSON."""
    jwt_grants: str | None = None
    """What the values of claims grant: {"scope": {"facts:read": {"read": {"include": ["*"]}}}}."""
    ticket_seconds: float = Field(60.0, ge=0.1, le=60)
    """How long a ticket waits for its stream."""
    session_seconds: float = Field(28_800.0, ge=0.1, le=604_800)
    """How long a session of a browser lasts."""
    security_contact: str | None = None
    """Whom to tell of a hole in security, for /.well-known/security.txt: mailto:, https: or tel:. Unset: 404."""
    cors_origins: str | None = None
    """Origins whose pages may call the service, by commas. Unset: none."""

    log_format: Literal["text", "json"] = "text"
    """How log lines look on standard error: for people, or a JSON object a line."""
    log_requests: bool = False
    """Whether each request is logged: who made it, its status and time, and the positions that it published."""
    tracing: bool = False
    """Whether spans are sent by OTLP, to where OTEL_EXPORTER_OTLP_ENDPOINT says. Needs factwire[tracing]."""

    @model_validator(mode="before")
    @classmethod
    def check_given(cls, given: dict[str, Any]) -> dict[str, Any]:
        return with_secret_files(given)

    @field_validator("database_url", "listen_url")
    @classmethod
    def check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            check_database_url(url.get_secret_value())
        return url

    @field_validator("master_key_file")
    @classmethod
    def check_one_source(cls, file: Path | None, given: ValidationInfo) -> Path | None:
        if file is not None and given.data.get("master_key") is not None:
            raise ValueError("FACTWIRE_MASTER_KEY is set as well: use one of them")
        return file

    @field_validator("auth")
    @classmethod
    def check_auth(cls, given: str | None) -> str | None:
        modes = split_commas(given)
        for mode in modes:
            if mode not in AUTH_MODES:
                raise ValueError(f"{mode!r} is none of {', '.join(AUTH_MODES)}")
        if "none" in modes and len(modes) > 1:
            raise ValueError("none cannot stand beside others")
        return given

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches the service may do everything."""
        return self.auth_modes in ((), ("none",))

    @property
    def is_open_implicitly(self) -> bool:
        """Whether nobody has said how requests say whose they are: it is open then, on this machine."""
        return not self.auth_modes

    @property
    def is_open_to_others(self) -> bool:
        """Whether others reach a service that is open without anybody having said so."""
        return self.is_open_implicitly and not is_loopback(self.host)

    @property
    def credentials(self) -> dict[str, str]:
        """The header with which the command line comes to the service."""
        return {} if self.key is None else {"authorization": f"Bearer {self.key.get_secret_value()}"}

    @property
    def auth_modes(self) -> tuple[str, ...]:
        return split_commas(self.auth)

    @field_validator("cloudevents_namespace")
    @classmethod
    def check_namespace(cls, given: str | None) -> str | None:
        if given is not None and (not NAMESPACE.fullmatch(given) or given == "factwire"):
            raise ValueError("expected a name other than factwire: letters, digits and _.:- , at most 200 characters")
        return given

    @field_validator("security_contact")
    @classmethod
    def check_contact(cls, given: str | None) -> str | None:
        if given is not None and not CONTACT.fullmatch(given):
            raise ValueError("expected a URI that begins with mailto:, https: or tel: (RFC 9116)")
        return given

    @field_validator("trusted_proxies")
    @classmethod
    def check_proxies(cls, given: str | None) -> str | None:
        networks(given)
        return given

    @field_validator("allowed_hosts")
    @classmethod
    def check_hosts(cls, given: str | None) -> str | None:
        for name in split_commas(given):
            if not HOST.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a host: write it without a port")
        return given

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return networks(self.trusted_proxies)

    @property
    def hosts(self) -> tuple[str, ...]:
        return split_commas(self.allowed_hosts)

    @field_validator("jwt_issuer", "jwt_jwks_url")
    @classmethod
    def check_issuer(cls, url: str | None) -> str | None:
        """Keys that others can change on their way would verify anything."""
        return None if url is None else check_address(url)

    @field_validator("jwt_algorithms")
    @classmethod
    def check_algorithms(cls, given: str) -> str:
        for name in split_commas(given) or ("",):
            if name not in SIGNATURE_ALGORITHMS:
                raise ValueError(f"{name!r} is none of {', '.join(SIGNATURE_ALGORITHMS)}")
        return given

    @field_validator("cors_origins")
    @classmethod
    def check_origins(cls, given: str | None) -> str | None:
        for origin in split_commas(given):
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin such as https://app.example, without a path and in lower case")
        return given

    @model_validator(mode="after")
    def check_tokens(self) -> Self:
        if "jwt" in self.auth_modes and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("FACTWIRE_AUTH=jwt needs FACTWIRE_JWT_ISSUER and FACTWIRE_JWT_AUDIENCE")
        return self

    @property
    def master_key_sources(self) -> tuple[str, Path | None]:
        """The master keys themselves, and the file that holds them."""
        return self.master_key.get_secret_value() if self.master_key else "", self.master_key_file

    @property
    def algorithms(self) -> tuple[str, ...]:
        return split_commas(self.jwt_algorithms)

    @property
    def origins(self) -> tuple[str, ...]:
        return split_commas(self.cors_origins)

    @field_validator("tracing")
    @classmethod
    def check_tracing_is_installed(cls, wanted: bool) -> bool:
        if wanted and not (find_spec("opentelemetry") and find_spec("opentelemetry.sdk")):
            raise ValueError("install factwire[tracing] first")
        return wanted


def range_of(name: str) -> tuple[float, float] | None:
    """The least and the greatest value of a setting that is a number; None for any other, or where there is none."""
    field = Settings.model_fields.get(name)
    bounds = field.metadata if field else []
    least = [float(bound.ge) for bound in bounds if hasattr(bound, "ge")]
    most = [float(bound.le) for bound in bounds if hasattr(bound, "le")]
    return (least[0], most[0]) if least and most else None
