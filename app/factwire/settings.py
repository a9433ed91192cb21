"""Settings from environment variables: FACTWIRE_ and the name in capitals. A name ends with the unit."""

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
# Without `none`, and without shared-secret algorithms, as each verifier of a token could also make one.
SIGNATURE_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")


class Settings(BaseSettings):
    """Settings of one process: built once at its start and passed down. Lower layers do not read the environment."""

    model_config = SettingsConfigDict(
        env_prefix="FACTWIRE_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    database_url: SecretStr | None = None
    """The PostgreSQL database that stores the facts, as a libpq URL. Unset: an embedded one."""
    database_url_file: Path | None = None
    """A file that holds the URL instead. It is read at the start."""
    listen_url: SecretStr | None = None
    """A direct connection for LISTEN if database_url leads through a pooler. Unset: database_url."""
    listen_url_file: Path | None = None
    """A file that holds the LISTEN URL instead."""
    data_dir: Path | None = None
    """The directory of the embedded PostgreSQL. Unset: /var/lib/factwire for root, else the user's data directory."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """The port to listen on; 0 selects a free port."""
    auth: str | None = None
    """The authentication modes, comma-separated: keys, jwt, or none. Unset: none, on loopback addresses only."""
    allowed_hosts: str | None = None
    """Host names of requests, comma-separated, besides addresses and localhost; *.example is all names below it."""
    trusted_proxies: str | None = None
    """Addresses and networks of proxies that may report a client's address, comma-separated. Unset: none."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The only header in which these proxies report the address of a client."""
    tls_certificate_file: Path | None = None
    """The TLS certificate and its chain up to the authority, as PEM. Unset: plain HTTP."""
    tls_key_file: Path | None = None
    """The private key of the certificate, as PEM. Unset: the key is in the certificate file."""
    tls_key_password: SecretStr | None = None
    """The password of the private key."""
    tls_key_password_file: Path | None = None
    """A file that holds the password instead."""
    workers: int = Field(1, ge=1, le=64)
    """The number of processes on that port. Each process follows the log by itself."""
    url: str = "http://127.0.0.1:8000"
    """The URL at which the command line reaches the service."""
    key: SecretStr | None = None
    """The key or the token that commands send to the service."""
    key_file: Path | None = None
    """A file that holds the key or the token instead."""

    read_connections_max: int = Field(8, ge=2, le=100)
    """Connections of one process for reads; ten others manage, claim, follow the log and append, and one listens."""
    read_seconds: float = Field(10.0, ge=0.1, le=300)
    """The time limit of one read in the database."""
    append_seconds: float = Field(15.0, ge=0.1, le=60)
    """The time limit of one append in the database, including its wait for the lock."""
    poll_seconds: float = Field(0.25, ge=0.01, le=10)
    """How often the tail polls for new facts if no notification arrives."""
    ring_bytes_max: int = Field(32 * MIB, ge=MIB, le=16 * GIB)
    """How much of the newest history each process keeps in memory for its streams."""

    facts_max: int = Field(1000, ge=1, le=1000)
    """Facts in one publish request."""
    postings_max: int = Field(10_000, ge=400, le=1_000_000)
    """Postings of one publish request. Each aggregate id, each meta value and the type of each fact is one posting."""
    group_postings_max: int = Field(20_000, ge=400, le=1_000_000)
    """Postings that are written while the append lock is held once, unless a single request has more."""
    body_bytes_max: int = Field(4 * MIB, ge=1024, le=256 * MIB)
    """Bytes of one request body; in an import, of one batch."""
    bodies_bytes_max: int = Field(256 * MIB, ge=MIB, le=64 * GIB)
    """Bytes of all request bodies that one process reads at the same time."""
    namespace_types_max: int = Field(100_000, ge=1, le=10_000_000)
    """Types of one namespace. Each version of a type counts as one."""
    principal_namespaces_max: int = Field(50_000, ge=1, le=10_000_000)
    """Namespaces in which one principal has published the first fact."""
    payload_bytes_max: int = Field(MIB, ge=2, le=64 * MIB)
    """Bytes of one payload."""
    aggregate_ids_max: int = Field(32, ge=1, le=100)
    """Aggregate ids of one fact."""
    meta_keys_max: int = Field(32, ge=1, le=100)
    """Meta keys of one fact."""
    meta_values_max: int = Field(64, ge=1, le=200)
    """Meta values of one fact, all keys together. Each value is a posting that is written under the lock."""
    query_items_max: int = Field(100, ge=1, le=1000)
    """Items of one query or condition. All together have at most 1,000 values, or 10 for each if that is more."""
    cloudevents_namespace: str | None = None
    """The namespace of CloudEvents that have no extension `namespace`. Unset: such CloudEvents are refused."""
    webhook_origins: str | None = None
    """Senders of CloudEvents over web hooks that may deliver here, by name, comma-separated, or `*`. Unset: none."""
    page_facts_max: int = Field(1000, ge=1, le=1000)
    """Facts of one page: the largest `limit`."""
    wait_seconds_max: float = Field(50.0, ge=0, le=300)
    """The largest `wait_seconds` of a long poll. Keep it below the response timeout of a proxy, often 60 s."""

    subscriptions_max: int = Field(1000, ge=1, le=10_000)
    """Subscriptions of the log."""
    subscription_aside_max: int = Field(100_000, ge=100, le=10_000_000)
    """Facts of one subscription that may be set aside: parked, delayed, or held behind those. Then its cursor stops."""

    metrics_subscriptions: bool = False
    """If the metrics, which are open to all, name subscriptions."""

    publish_wait_seconds: float = Field(30.0, ge=0.1, le=300)
    """How long a publish may wait in the queue for its turn."""
    publishes_waiting_max: int = Field(20_000, ge=1, le=1_000_000)
    """Publishes that may wait in the queue of one process."""
    publish_bytes_waiting_max: int = Field(256 * MIB, ge=MIB, le=64 * GIB)
    """Bytes of the publishes that may wait in the queue of one process."""
    condition_seconds: float = Field(10.0, ge=0.1, le=300)
    """The time limit for the evaluation of an expensive condition, outside the lock."""

    master_key: SecretStr | None = None
    """Master keys in base64 that wrap the keys of data subjects: the first one wraps, older ones only unwrap."""
    master_key_file: Path | None = None
    """A file that holds the master keys instead. If both are unset, facts about data subjects are refused."""

    header_seconds: float = Field(10.0, ge=0.1, le=300)
    """How long a client may take to send the headers of a request."""
    header_bytes_max: int = Field(32 * 1024, ge=1024, le=MIB)
    """Bytes of the headers of one request."""
    headers_max: int = Field(100, ge=10, le=10_000)
    """Header lines of one request."""
    body_seconds: float = Field(30.0, ge=0.1, le=3600)
    """How long a client may take to send a body; in an import, to send the next line."""
    keep_alive_seconds: float = Field(75.0, ge=1, le=3600)
    """How long a connection without a request stays open (keep-alive). A proxy must close it first."""

    connections_max: int | None = Field(None, ge=1)
    """Open connections of one process. Unset: FACTWIRE_STREAMS_MAX plus 800."""
    address_connections_max: int | None = Field(None, ge=1)
    """Open connections from one address. The limit does not apply to trusted proxies. Unset: no limit."""
    address_requests_per_second: int | None = Field(None, ge=1)
    """Rate limiter: requests from one address. Unset: no limit."""
    address_bytes_per_second: int | None = Field(None, ge=1)
    """Rate limiter: bytes of request bodies from one address. Unset: no limit."""
    address_facts_per_second: int | None = Field(None, ge=1)
    """Rate limiter: facts published from one address. Unset: no limit."""
    address_streams_max: int | None = Field(None, ge=1)
    """Open streams from one address. Unset: no limit."""
    principal_requests_per_second: int | None = Field(None, ge=1)
    """Rate limiter: requests of one principal. Unset: no limit."""
    principal_bytes_per_second: int | None = Field(None, ge=1)
    """Rate limiter: bytes of the request bodies of one principal. Unset: no limit."""
    principal_facts_per_second: int | None = Field(None, ge=1)
    """Rate limiter: facts published by one principal. Unset: no limit."""
    principal_streams_max: int | None = Field(None, ge=1)
    """Open streams of one principal. Unset: no limit."""
    principal_sessions_max: int = Field(100, ge=1, le=10_000)
    """Sessions of one principal, in all processes together. One more ends the session that would end first."""

    unread_bytes_max: int = Field(256 * MIB, ge=8 * MIB, le=64 * GIB)
    """Bytes of the answers of one process that clients have not read yet. One principal may use half of it."""
    queries_bytes_max: int = Field(64 * MIB, ge=MIB, le=64 * GIB)
    """Memory for the queries of open streams and long polls of one process. One principal may use half of it."""

    streams_max: int = Field(10_000, ge=1, le=1_000_000)
    """Open streams of one process. A stream beyond the limit is asked to reconnect later."""
    stream_age_seconds_max: float = Field(3600.0, ge=1, le=7 * 86_400)
    """Approximate age limit of a stream (plus or minus a fifth), as behind a proxy, vanished clients look connected."""
    stream_send_seconds: float = Field(20.0, ge=0.1, le=300)
    """How long a client may read nothing before its stream is closed."""
    stream_history_bytes_max: int = Field(256 * MIB, ge=MIB, le=64 * GIB)
    """Approximate memory for the history of all streams of one process."""
    heartbeat_seconds: float = Field(15.0, ge=3, le=60)
    """Heartbeat interval: time until a quiet stream gets a heartbeat, unless its client asks for another interval."""
    retry_seconds: float = Field(2.0, ge=0.1, le=60)
    """How long a client should wait before it reconnects after its stream ended."""
    drain_seconds: float = Field(5.0, ge=0, le=3600)
    """The drain time: at SIGTERM, the streams end one after the other, spread over this time."""

    keys_file: Path | None = None
    """Keys in a TOML file, beside those of the database. It is read again when it changes."""
    jwt_issuer: str | None = None
    """The issuer of the tokens that are accepted. The `iss` of a token must match it exactly."""
    jwt_audience: str | None = None
    """The audience that a token must have as its `aud`, or as one value of it."""
    jwt_jwks_url: str | None = None
    """The URL of the issuer's keys (JWKS). Unset: the URL in the issuer's /.well-known/openid-configuration."""
    jwt_algorithms: str = "RS256,ES256,EdDSA,Ed25519"
    """Accepted signature algorithms, comma-separated; also possible: RS384, RS512, PS256 to PS512, ES384, ES512."""
    jwt_leeway_seconds: int = Field(60, ge=0, le=300)
    """How much the issuer's clock may differ."""
    jwt_refresh_seconds: float = Field(300.0, ge=1, le=86_400)
    """How often the issuer's keys are fetched. In between, only a token that names an unknown key causes a fetch."""
    jwt_keep_seconds: float = Field(3600.0, ge=1, le=604_800)
    """How long the last fetched keys are trusted while the issuer cannot be reached."""
    jwt_grants_claim: str | None = None
    """The claim that holds grants, as JSON."""
    jwt_grants: str | None = None
    """The grants of the values of claims: {"scope": {"facts:read": {"read": {"include": ["*"]}}}}."""
    ticket_seconds: float = Field(60.0, ge=0.1, le=60)
    """How long a ticket can be used to open its stream."""
    session_seconds: float = Field(28_800.0, ge=0.1, le=604_800)
    """How long a browser session lasts."""
    security_contact: str | None = None
    """The contact for reports of vulnerabilities, in /.well-known/security.txt: mailto:, https: or tel:. Unset: 404."""
    cors_origins: str | None = None
    """The origins whose pages may call the service (CORS), comma-separated. Unset: none."""

    log_format: Literal["text", "json"] = "text"
    """The format of the log lines on standard error: readable text, or one JSON object per line."""
    log_requests: bool = False
    """Log each request: its client, its status, its time, and the positions that it published."""
    tracing: bool = False
    """Send spans by OTLP, to the address in OTEL_EXPORTER_OTLP_ENDPOINT. Needs factwire[tracing]."""

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
                raise ValueError(f"{mode!r} is not one of {', '.join(AUTH_MODES)}")
        if "none" in modes and len(modes) > 1:
            raise ValueError("none cannot be combined with others")
        return given

    @property
    def is_open(self) -> bool:
        """True if each client that can reach the service has all rights."""
        return self.auth_modes in ((), ("none",))

    @property
    def is_open_implicitly(self) -> bool:
        """True if no authentication mode is set: the service is then open, but on this machine only."""
        return not self.auth_modes

    @property
    def is_open_to_others(self) -> bool:
        """True if other machines can reach a service that is open without an explicit setting."""
        return self.is_open_implicitly and not is_loopback(self.host)

    @property
    def credentials(self) -> dict[str, str]:
        """Authorization header that the command line sends to the service."""
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
                raise ValueError(f"{name!r} is not a host name: write it without a port")
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
        """Raises ValueError if the keys could be changed in transit: changed keys would verify any token."""
        return None if url is None else check_address(url)

    @field_validator("jwt_algorithms")
    @classmethod
    def check_algorithms(cls, given: str) -> str:
        for name in split_commas(given) or ("",):
            if name not in SIGNATURE_ALGORITHMS:
                raise ValueError(f"{name!r} is not one of {', '.join(SIGNATURE_ALGORITHMS)}")
        return given

    @field_validator("cors_origins")
    @classmethod
    def check_origins(cls, given: str | None) -> str | None:
        for origin in split_commas(given):
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin} is not an origin such as https://app.example, without a path and in lower case"
                )
        return given

    @model_validator(mode="after")
    def check_tokens(self) -> Self:
        if "jwt" in self.auth_modes and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("FACTWIRE_AUTH=jwt needs FACTWIRE_JWT_ISSUER and FACTWIRE_JWT_AUDIENCE")
        if self.keys_file is not None and "keys" not in self.auth_modes:
            raise ValueError("FACTWIRE_KEYS_FILE needs FACTWIRE_AUTH=keys")
        return self

    @property
    def master_key_sources(self) -> tuple[str, Path | None]:
        """Master keys, and the file that holds them."""
        return self.master_key.get_secret_value() if self.master_key else "", self.master_key_file

    @property
    def algorithms(self) -> tuple[str, ...]:
        return split_commas(self.jwt_algorithms)

    @property
    def origins(self) -> tuple[str, ...]:
        return split_commas(self.cors_origins)

    @property
    def webhook_senders(self) -> tuple[str, ...]:
        return split_commas(self.webhook_origins)

    @field_validator("tracing")
    @classmethod
    def check_tracing_is_installed(cls, enabled: bool) -> bool:
        if enabled and not (find_spec("opentelemetry") and find_spec("opentelemetry.sdk")):
            raise ValueError("install factwire[tracing] first")
        return enabled


def range_of(name: str) -> tuple[float, float] | None:
    """Minimum and maximum of a numeric setting; None if the setting has no range or does not exist."""
    field = Settings.model_fields.get(name)
    bounds = field.metadata if field else []
    least = [float(bound.ge) for bound in bounds if hasattr(bound, "ge")]
    most = [float(bound.le) for bound in bounds if hasattr(bound, "le")]
    return (least[0], most[0]) if least and most else None
