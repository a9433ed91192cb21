"""The composition root: builds the floors, opens them when the application starts and closes them when it ends."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from factwire import __version__
from factwire.access.access import Access, Authenticator
from factwire.access.addresses import Proxies
from factwire.access.allowances import allowances_of
from factwire.access.claims import ClaimGrants, by_value_from
from factwire.access.keyring import Keyring
from factwire.access.lending import Sessions, Tickets
from factwire.api import (
    catalogue,
    cloudevents,
    erasing,
    explorer,
    facts,
    health,
    imports,
    keys,
    open_streams,
    openapi,
    positions,
    publishing,
    reference,
    sessions,
    streams,
    tickets,
)
from factwire.api.bodies import Bodies
from factwire.api.context import Context
from factwire.api.problems import STATUSES, answer_factwire_error, answer_http_exception, answer_unexpected
from factwire.api.returning import Returns
from factwire.api.sse import leave_shutdown_to_us
from factwire.api.tenants import Tenants
from factwire.domain.budget import Budget
from factwire.domain.errors import FactwireError, Unavailable
from factwire.domain.fact import NewFact
from factwire.domain.limits import Limits
from factwire.postgres_url import left_out_of
from factwire.settings import Settings
from factwire.store.appending import Appended, CatalogueLimits
from factwire.store.database import Database, new_database
from factwire.store.durability import weak_settings
from factwire.store.fitness import Fitness
from factwire.store.master_keys import load_master_keys
from factwire.store.migrations import schema_is_current
from factwire.store.rotating import has_foreign_key
from factwire.store.transport import unverified_hosts
from factwire.stream.erasing import Erasing
from factwire.stream.following import REASONS, Streams
from factwire.stream.history import History
from factwire.stream.listener import Listener, Notifier
from factwire.stream.moments import Moments
from factwire.stream.outcomes import OUTCOMES
from factwire.stream.publisher import Publisher
from factwire.stream.ring import Ring
from factwire.stream.tail import Tail
from factwire.stream.traces import note_traces
from factwire.stream.upkeep import Upkeep
from factwire.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from factwire.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

RESOURCES = (
    imports,
    publishing,
    cloudevents,
    facts,
    erasing,
    streams,
    open_streams,
    positions,
    catalogue,
    keys,
    tickets,
    sessions,
    health,
    explorer,
    reference,
)
RESTART_SECONDS = 1.0
BATCH_BYTES_MAX = 256 * 1024


def create_app(settings: Settings) -> FastAPI:
    """An application on `settings.database_url`, which must be set. Nothing is opened before it starts."""
    assert settings.database_url is not None
    context, tasks = build(settings)
    leave_shutdown_to_us()
    warn_of_urls(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await context.database.open()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(kept_running(name, run)) for name, run in tasks.items()]
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    await asyncio.wait_for(context.publisher.drain(), settings.append_seconds)
                for task in running:
                    task.cancel()
        await context.database.close()
        if context.tracing is not None:
            await asyncio.to_thread(context.tracing.close)

    app = FastAPI(title="Factwire", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    app.state.context = context
    for resource in RESOURCES:
        app.router.routes.extend(resource.router.routes)
    app.router.routes.append(reference.files())
    app.add_exception_handler(FactwireError, answer_factwire_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(Exception, answer_unexpected)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


def build(settings: Settings) -> tuple[Context, dict[str, Callable[[], Awaitable[None]]]]:
    """The floors of one process, and the tasks that keep them going."""
    assert settings.database_url is not None
    database = new_database(
        settings.database_url.get_secret_value(),
        read_connections_max=settings.read_connections_max,
        read_seconds=settings.read_seconds,
        append_seconds=settings.append_seconds,
        master_keys=load_master_keys(*settings.master_key_sources),
    )
    metrics, tracing = Metrics(), tracing_of(settings)
    tenants = Tenants(Proxies(settings.proxies, header=settings.forwarded_header))
    ring = Ring(bytes_max=settings.ring_bytes_max, batch_bytes_max=BATCH_BYTES_MAX)
    on_extended = partial(note_traces, tracing) if tracing else None
    tail = Tail(database, ring, poll_seconds=settings.poll_seconds, on_extended=on_extended)
    upkeep = Upkeep(database, History(tail))
    notifier = Notifier(database, lambda: not listener.is_alone(upkeep.listeners))
    listen_url = (settings.listen_url or settings.database_url).get_secret_value()
    listener = Listener(listen_url, tail.hint, own_sender=notifier.sender)
    fitness = Fitness(database)
    publisher = publisher_of(settings, database, fitness, tail, notifier, metrics)
    keyring = Keyring(database) if "keys" in settings.auth_modes else None
    authenticators = authenticators_of(settings, keyring)
    access = Access(authenticators, is_open=settings.is_open)
    if keyring is not None:
        keyring.on_changed = access.forget
    context = Context(
        settings=settings,
        limits=limits_of(settings),
        access=access,
        keyring=keyring,
        tickets=Tickets(database, access.current, seconds=settings.ticket_seconds),
        sessions=Sessions(
            database, access.current, seconds=settings.session_seconds, sessions_max=settings.principal_sessions_max
        ),
        database=database,
        bodies=bodies_of(settings, tenants),
        tenants=tenants,
        unread=unread_of(settings),
        queries=queries_of(settings),
        returns=Returns(retry_seconds=settings.retry_seconds),
        publisher=publisher,
        tail=tail,
        moments=Moments(database),
        streams=streams_of(settings, database, tail, publisher, metrics, tracing),
        erasing=Erasing(database, tail, on_erased=notifier.hint),
        metrics=metrics,
        tracing=tracing,
        allowances=allowances_of(settings, "principal"),
    )
    measure(context, listener, upkeep)
    return context, {
        "tail": tail.run,
        "streams": context.streams.run,
        "listener": listener.run,
        "notifier": notifier.run,
        "publisher": context.publisher.run,
        "upkeep": upkeep.run,
        "schema": lambda: see_schema(context, fitness),
        "sessions": context.sessions.run,
        **{f"{name} authenticator": authenticator.run for name, authenticator in authenticators.items()},
    }


def authenticators_of(settings: Settings, keyring: Keyring | None) -> dict[str, Authenticator]:
    """What knows credentials, by the kind of name that it gives."""
    authenticators: dict[str, Authenticator] = {} if keyring is None else {"key": keyring}
    if "jwt" in settings.auth_modes:
        authenticators["jwt"] = tokens_of(settings)
    return authenticators


def tokens_of(settings: Settings) -> Authenticator:
    """Tokens are imported where they are wanted only: their cryptography takes a while."""
    from factwire.access.tokens import Expected, new_tokens

    assert settings.jwt_issuer is not None
    assert settings.jwt_audience is not None
    expected = Expected(
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
    database: Database,
    fitness: Fitness,
    tail: Tail,
    notifier: Notifier,
    metrics: Metrics,
) -> Publisher:
    def on_appended(appended: Appended, facts: Sequence[NewFact]) -> None:
        tail.follow_append(appended, facts)
        notifier.hint()

    return Publisher(
        database,
        wait_seconds=settings.publish_wait_seconds,
        waiting_requests_max=settings.publishes_waiting_max,
        waiting_bytes_max=settings.publish_bytes_waiting_max,
        condition_seconds=settings.condition_seconds,
        group_postings_max=settings.group_postings_max,
        tail=tail,
        on_appended=on_appended,
        metrics=metrics,
        demand_fitness=fitness.demand,
        limits=CatalogueLimits(settings.namespace_types_max, settings.principal_namespaces_max),
    )


def streams_of(
    settings: Settings,
    database: Database,
    tail: Tail,
    publisher: Publisher,
    metrics: Metrics,
    tracing: "Tracing | None",
) -> Streams:
    return Streams(
        database,
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
    """Tracing is imported where it is wanted only: it is an extra, and takes a while."""
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


def measure(context: Context, listener: Listener, upkeep: Upkeep) -> None:
    """Let the metrics show the state of the floors."""
    context.metrics.expect(outcomes=OUTCOMES, reasons=REASONS, problems=[error.code for error in STATUSES])
    gauge, gauges = context.metrics.gauge, context.metrics.gauges
    tail, lanes = context.tail, context.database.lanes()
    gauges("factwire_open_streams", "Open streams, by state.", ("state",), lambda: context.streams.states)
    gauge(
        "factwire_head_position", "The position of the newest fact that the tail has seen.", lambda: context.tail.head
    )
    gauge(
        "factwire_forks",
        "Forks of the history that the tail has noticed, or learned of.",
        lambda: max(tail.forks, int(tail.fork is not None)),
    )
    gauge(
        "factwire_history_unconfirmed",
        "Whether the database was promoted or restored and nobody has confirmed that nothing was lost.",
        lambda: upkeep.history.unconfirmed,
    )
    gauge(
        "factwire_database_reachable",
        "Whether the tail reads, and no connection failed that others used.",
        lambda: context.database_reachable,
    )
    gauge(
        "factwire_database_standby",
        "Whether the database is a standby: history and streams are served, nothing is published.",
        lambda: bool(tail.on_standby),
    )
    gauge("factwire_listener_connected", "Whether notifications arrive.", lambda: listener.connected)
    gauge("factwire_publishes_waiting", "Publishes under way.", lambda: context.publisher.waiting)
    gauge("factwire_partition_room_facts", "Facts that fit into the partitions that exist.", lambda: upkeep.room or 0)
    gauge(
        "factwire_tail_lag_facts",
        "Facts that the tail has yet to see.",
        lambda: math.nan if upkeep.head is None else max(0, upkeep.head - tail.head),
    )
    gauge("factwire_tail_lag_seconds", "Time since the tail saw that it was at the head.", lambda: tail.lag_seconds)
    gauge("factwire_append_lock_waiting", "Sessions that wait for the append lock.", lambda: upkeep.lock.waiting)
    gauge("factwire_append_lock_wait_seconds", "The longest wait for the lock.", lambda: upkeep.lock.seconds)
    gauges(
        "factwire_database_connections",
        "Connections to the database, by lane and state.",
        ("lane", "state"),
        lambda: {(lane.name, state): getattr(lane, state) for lane in lanes for state in ("used", "idle")},
    )


def limits_of(settings: Settings) -> Limits:
    return Limits(**{field.name: getattr(settings, field.name) for field in fields(Limits)})


def warn_of_urls(settings: Settings) -> None:
    for name, url in (("DATABASE", settings.database_url), ("LISTEN", settings.listen_url)):
        left_out = () if url is None else left_out_of(url.get_secret_value())
        if left_out:
            log.warning("FACTWIRE_%s_URL: %s cannot be followed here and is left out", name, ", ".join(left_out))
        hosts = () if url is None else unverified_hosts(url.get_secret_value())
        if hosts:
            log.warning(
                "nobody verifies that %s is the database: add sslmode=verify-full and sslrootcert to FACTWIRE_%s_URL",
                " and ".join(hosts),
                name,
            )


async def kept_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a task for as long as the application runs; one that fails unexpectedly is logged and started anew."""
    while True:
        try:
            return await run()
        except Exception:
            log.exception("the %s failed and is started anew", name)
            await asyncio.sleep(RESTART_SECONDS)


async def see_schema(context: Context, fitness: Fitness) -> None:
    """Wait until the database was seen to be fit and the schema to be current: from then on the process is ready."""
    warned = False
    while not context.schema_seen:
        with suppress(Unavailable):
            await fitness.demand()
            async with context.database.watching.reading() as connection:
                weak = await weak_settings(connection)
                context.schema_seen = await schema_is_current(connection)
                if context.schema_seen and await has_foreign_key(connection, context.database.master_keys):
                    log.error("payloads of some data subjects cannot be opened: their master key was not given")
            if not context.schema_seen and not warned:
                warned = True
                log.warning("the schema of the database is missing or old: run `factwire migrate`")
            if context.schema_seen and weak:
                log.error("a crash of the database may lose acknowledged facts: turn on %s", ", ".join(weak))
        if not context.schema_seen:
            await asyncio.sleep(context.settings.poll_seconds)
