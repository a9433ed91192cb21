"""Components of one process: built from the settings and wired together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from factwire import __version__
from factwire.api.http.bodies import Bodies
from factwire.api.http.context import Context
from factwire.api.http.reconnect_later import ReconnectLater
from factwire.api.http.tenants import Tenants
from factwire.auth.authenticator import Authentication, Authenticator
from factwire.auth.claims import ClaimGrants, by_value_from
from factwire.auth.key_cache import KeyCache
from factwire.auth.key_file import KIND, KeyFile
from factwire.auth.sessions import Sessions
from factwire.auth.tickets import Tickets
from factwire.composition.gauges import measure
from factwire.composition.startup import wait_for_schema
from factwire.domain.budget import Budget
from factwire.domain.fact import NewFact
from factwire.domain.limits import Limits
from factwire.follow.erasure import Eraser
from factwire.follow.log_state import LogStateReader
from factwire.follow.notifications import Listener, Notifier
from factwire.follow.ring import Ring
from factwire.follow.streams import Streams
from factwire.follow.tail import Tail
from factwire.follow.traces import note_traces
from factwire.jobs.history_check import HistoryCheck
from factwire.jobs.key_expiries import KeyExpiries
from factwire.jobs.runner import JobRunner
from factwire.jobs.upkeep import Upkeep
from factwire.limits.client_address import Proxies
from factwire.limits.quotas import quotas_of
from factwire.publish.intake import Intake
from factwire.publish.publisher import Publisher
from factwire.settings import Settings
from factwire.store.append import Appended, CatalogueLimits
from factwire.store.encryption.keys import load_master_keys
from factwire.store.pools import Pools, new_pools
from factwire.store.requirements import Requirements
from factwire.subscriptions.subscriptions import Subscriptions
from factwire.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from factwire.telemetry.tracing import Tracing


BATCH_BYTES_MAX = 256 * 1024


def build(settings: Settings) -> tuple[Context, dict[str, Callable[[], Awaitable[None]]]]:
    """Build the components of one process, and the background tasks that they need."""
    assert settings.database_url is not None
    pools = pools_of(settings)
    metrics, tracing = Metrics(), tracing_of(settings)
    tenants = Tenants(Proxies(settings.proxies, header=settings.forwarded_header))
    ring = Ring(bytes_max=settings.ring_bytes_max, batch_bytes_max=BATCH_BYTES_MAX)
    on_extended = partial(note_traces, tracing) if tracing else None
    tail = Tail(pools, ring, poll_seconds=settings.poll_seconds, on_extended=on_extended)
    upkeep = Upkeep(pools, HistoryCheck(tail), aside_max=settings.subscription_aside_max)
    notifier = Notifier(pools, lambda: not listener.is_alone(upkeep.listeners))
    listen_url = (settings.listen_url or settings.database_url).get_secret_value()
    listener = Listener(listen_url, tail.hint, own_sender=notifier.sender)
    requirements = Requirements(pools)
    publisher = publisher_of(settings, pools, requirements, tail, notifier, metrics)
    key_cache = KeyCache(pools, warns=settings.keys_file is None) if "keys" in settings.auth_modes else None
    key_file = KeyFile(settings.keys_file) if settings.keys_file is not None else None
    authenticators = authenticators_of(settings, key_cache, key_file)
    access = Authentication(authenticators, is_open=settings.is_open)
    if key_cache is not None:
        key_cache.on_changed = access.forget
    if key_file is not None:
        key_file.on_changed = access.forget
    context = Context(
        settings=settings,
        limits=limits_of(settings),
        access=access,
        key_cache=key_cache,
        tickets=Tickets(pools, access.current, seconds=settings.ticket_seconds),
        sessions=Sessions(
            pools, access.current, seconds=settings.session_seconds, sessions_max=settings.principal_sessions_max
        ),
        pools=pools,
        bodies=bodies_of(settings, tenants),
        tenants=tenants,
        unread=unread_of(settings),
        queries=queries_of(settings),
        returns=ReconnectLater(retry_seconds=settings.retry_seconds),
        publisher=publisher,
        intake=Intake(publisher),
        tail=tail,
        log_state=LogStateReader(pools),
        streams=streams_of(settings, pools, tail, publisher, metrics, tracing),
        subscriptions=Subscriptions(pools, tail, aside_max=settings.subscription_aside_max, metrics=metrics),
        erasing=Eraser(pools, tail, on_erased=notifier.hint),
        metrics=metrics,
        tracing=tracing,
        quotas=quotas_of(settings, "principal"),
    )
    measure(context, listener, upkeep)
    return context, {
        "tail": tail.run,
        "listener": listener.run,
        "notifier": notifier.run,
        "schema": lambda: wait_for_schema(context, requirements),
        **tasks_of(context, upkeep),
        **{f"{name} authenticator": authenticator.run for name, authenticator in authenticators.items()},
    }


def tasks_of(context: Context, upkeep: Upkeep) -> dict[str, Callable[[], Awaitable[None]]]:
    """Background tasks of the components that requests use."""
    return {
        "streams": context.streams.run,
        "subscriptions": context.subscriptions.run,
        "publisher": context.publisher.run,
        "jobs": JobRunner((*upkeep.jobs, KeyExpiries(context.pools, context.publisher).job)).run,
        "sessions": context.sessions.run,
    }


def pools_of(settings: Settings) -> Pools:
    assert settings.database_url is not None
    return new_pools(
        settings.database_url.get_secret_value(),
        read_connections_max=settings.read_connections_max,
        read_seconds=settings.read_seconds,
        append_seconds=settings.append_seconds,
        master_keys=load_master_keys(*settings.master_key_sources),
    )


def authenticators_of(
    settings: Settings, key_cache: KeyCache | None, key_file: KeyFile | None
) -> dict[str, Authenticator]:
    """Authenticators by the kind of principal that they return."""
    authenticators: dict[str, Authenticator] = {}
    if key_file is not None:
        authenticators[KIND] = key_file
    if key_cache is not None:
        authenticators["key"] = key_cache
    if "jwt" in settings.auth_modes:
        authenticators["jwt"] = tokens_of(settings)
    return authenticators


def tokens_of(settings: Settings) -> Authenticator:
    """Token authenticator. Its modules are imported only if needed: the cryptography takes a while to import."""
    from factwire.auth.jwt import ExpectedClaims, new_tokens

    assert settings.jwt_issuer is not None
    assert settings.jwt_audience is not None
    expected = ExpectedClaims(
        settings.jwt_issuer, settings.jwt_audience, settings.algorithms, leeway_seconds=settings.jwt_leeway_seconds
    )
    return new_tokens(
        expected,
        ClaimGrants(settings.jwt_grants_claim, by_value_from(settings.jwt_grants)),
        jwks_url=settings.jwt_jwks_url,
        refresh_seconds=settings.jwt_refresh_seconds,
        keep_seconds=settings.jwt_keep_seconds,
    )


def publisher_of(
    settings: Settings,
    pools: Pools,
    requirements: Requirements,
    tail: Tail,
    notifier: Notifier,
    metrics: Metrics,
) -> Publisher:
    def on_appended(appended: Appended, facts: Sequence[NewFact]) -> None:
        tail.follow_append(appended, facts)
        notifier.hint()

    return Publisher(
        pools,
        wait_seconds=settings.publish_wait_seconds,
        waiting_requests_max=settings.publishes_waiting_max,
        waiting_bytes_max=settings.publish_bytes_waiting_max,
        condition_seconds=settings.condition_seconds,
        group_postings_max=settings.group_postings_max,
        tail=tail,
        on_appended=on_appended,
        metrics=metrics,
        require_lock=requirements.require,
        limits=CatalogueLimits(settings.namespace_types_max, settings.principal_namespaces_max),
    )


def streams_of(
    settings: Settings,
    pools: Pools,
    tail: Tail,
    publisher: Publisher,
    metrics: Metrics,
    tracing: "Tracing | None",
) -> Streams:
    return Streams(
        pools,
        tail,
        streams_max=settings.streams_max,
        history_reads_max=settings.read_connections_max - 1,
        history_bytes_max=settings.stream_history_bytes_max,
        age_seconds_max=settings.stream_age_seconds_max,
        drain_seconds=settings.drain_seconds,
        metrics=metrics,
        more_to_come=lambda: publisher.waiting > 0,
        on_passed=tracing.delivered if tracing else None,
    )


def tracing_of(settings: Settings) -> "Tracing | None":
    """Tracing, if it is enabled. It is imported only if needed: it is an optional extra and takes a while to import."""
    if not settings.tracing:
        return None
    from factwire.telemetry.tracing import Tracing

    return Tracing(version=__version__)


def bodies_of(settings: Settings, tenants: Tenants) -> Bodies:
    return Bodies(
        tenants,
        bytes_max=settings.body_bytes_max,
        all_bytes_max=settings.bodies_bytes_max,
        seconds=settings.body_seconds,
    )


def unread_of(settings: Settings) -> Budget:
    refusal = (
        "Too many answers are waiting to be read: FACTWIRE_UNREAD_BYTES_MAX bounds them, and half for each principal."
    )
    return Budget(settings.unread_bytes_max, refusal=refusal, least=3 * settings.payload_bytes_max)


def queries_of(settings: Settings) -> Budget:
    refusal = "Too many queries are open: FACTWIRE_QUERIES_BYTES_MAX bounds them, and half of it for each principal."
    return Budget(settings.queries_bytes_max, refusal=refusal, least=3 * settings.body_bytes_max)


def limits_of(settings: Settings) -> Limits:
    return Limits(**{field.name: getattr(settings, field.name) for field in fields(Limits)})
