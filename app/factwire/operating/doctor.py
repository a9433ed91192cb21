"""`factwire doctor`: every check in its turn, a line for each, and what to change where one is not well."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import asyncpg
import httpx

from factwire.domain.finding import Finding, note, wrong
from factwire.operating import probing
from factwire.postgres_url import target_of
from factwire.settings import Settings
from factwire.store import embedded, examining, measuring
from factwire.store.database import Connection
from factwire.store.failing import explain_failure

CHECK_SECONDS = 15.0
OTHER_CONNECTIONS = 7  # beside those for reads: three that watch, one that appends, one that listens


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to check beyond what the settings say. Facts are published only in a namespace that was named for it."""

    processes: int
    publish_in: str | None = None
    idle_seconds: float | None = None


def run(settings: Settings, wanted: Wanted, *, as_json: bool) -> int:
    """Print each finding as it comes, or all as JSON; the exit code is 1 where something is wrong."""
    return asyncio.run(print_findings(settings, wanted, as_json=as_json))


async def print_findings(settings: Settings, wanted: Wanted, *, as_json: bool) -> int:
    findings = []
    for part in (database_findings(settings, wanted), service_findings(settings, wanted)):
        async for finding in part:
            findings.append(finding)
            if not as_json:
                print(f"{finding.verdict:<6} {finding.check:<13} {finding.told}", flush=True)
                if finding.change:
                    print(f"{'':<20} change: {finding.change}", flush=True)
    wrongs = sum(finding.verdict == "wrong" for finding in findings)
    if as_json:
        print(json.dumps({"wrong": wrongs, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 1 if wrongs else 0


async def database_findings(settings: Settings, wanted: Wanted) -> AsyncIterator[Finding]:
    url = url_of(settings)
    if url is None:
        directory = settings.data_dir or embedded.default_directory()
        told = f"FACTWIRE_DATABASE_URL is unset, and no embedded PostgreSQL runs in {directory}"
        yield note("database", told, "set it to check the database, or start the service")
        return
    try:
        connection = await examining.connect(url)
    except Exception as error:
        yield wrong("database", *explain_failure(error))
        return
    try:
        for check in database_checks(connection, settings, wanted, url):
            if connection.is_closed():
                yield wrong(
                    "database", "the connection was lost", "see in the log of PostgreSQL why, and run this again"
                )
                return
            for finding in await findings_of(check, "see what PostgreSQL logs meanwhile"):
                yield finding
    finally:
        connection.terminate()


def url_of(settings: Settings) -> str | None:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded.running_url(settings.data_dir or embedded.default_directory())


Check = tuple[str, Callable[[], AsyncIterator[Finding]]]


def database_checks(connection: Connection, settings: Settings, wanted: Wanted, url: str) -> list[Check]:
    listen_url = settings.listen_url.get_secret_value() if settings.listen_url else url
    listening = partial(
        measuring.try_listening,
        listen_url=listen_url,
        own_url=settings.listen_url is not None,
        poll_seconds=settings.poll_seconds,
    )
    needed = wanted.processes * (settings.read_connections_max + OTHER_CONNECTIONS)
    checks: Sequence[tuple[str, Callable[[Connection], AsyncIterator[Finding]]]] = (
        ("server", examining.describe_server),
        ("primary", examining.find_primary),
        ("encryption", examining.look_at_encryption),
        ("schema", examining.compare_schema),
        ("rights", examining.list_rights),
        ("durability", examining.judge_durability),
        ("standbys", examining.look_at_standbys),
        ("history", examining.judge_history),
        ("connections", partial(examining.count_connections, needed=needed)),
        ("session", partial(examining.compare_session, pooled=target_of(url).pooled)),
        ("statements", partial(measuring.try_statements, url=url)),
        ("lock", partial(measuring.try_lock, url=url)),
        ("lock", examining.name_lock_holders),
        ("lock", examining.count_strangers),
        ("listening", listening),
        ("partitions", measuring.measure_room),
        ("memory", measuring.weigh_memory),
        ("commits", measuring.time_commits),
        ("clocks", measuring.compare_clocks),
        ("transactions", measuring.find_old_transactions),
    )
    return [(name, partial(check, connection)) for name, check in checks]


async def service_findings(settings: Settings, wanted: Wanted) -> AsyncIterator[Finding]:
    try:
        client = probing.new_client(settings.url, settings.credentials)
        shown = f"{client.base_url.scheme}://{client.base_url.netloc.decode()}"
    except Exception as error:  # its text may quote a part of the password
        yield wrong("service", f"the URL is of no use ({type(error).__name__})", "correct FACTWIRE_URL or --url")
        return
    async with client:
        try:
            found = [finding async for finding in probing.look_at_door(client)]
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            told = f"nobody answers at {shown}: {saying(error)}"
            if "url" in settings.model_fields_set:
                yield wrong("service", told, "start the service, or correct FACTWIRE_URL or --url")
            else:
                yield note("service", told, "start the service, or say where it is by FACTWIRE_URL or --url")
            return
        for finding in found:
            yield finding
        if found[-1].verdict == "wrong":
            return
        for check in service_checks(client, settings, wanted):
            change = "see what the service and the proxy log meanwhile"
            for finding in await findings_of(check, change, seconds=CHECK_SECONDS + (wanted.idle_seconds or 0)):
                yield finding


def service_checks(client: httpx.AsyncClient, settings: Settings, wanted: Wanted) -> list[Check]:
    checks: list[Check] = [
        ("way", partial(probing.look_at_way, client)),
        ("state", partial(probing.read_metrics, client)),
        ("log", partial(compare_logs, client, settings)),
        ("answers", partial(probing.time_answers, client)),
        ("body", partial(probing.send_large_body, client)),
        ("stream", partial(probing.watch_stream, client)),
    ]
    if wanted.publish_in is not None:
        checks.append(("delivery", partial(probing.measure_delivery, client, namespace=wanted.publish_in)))
    if wanted.idle_seconds is not None:
        seconds, usual = wanted.idle_seconds, settings.heartbeat_seconds
        checks.append(("idle", partial(probing.stay_idle, client, seconds=seconds, heartbeat_seconds=usual)))
    return checks


async def compare_logs(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[Finding]:
    url, change = url_of(settings), "run this with the FACTWIRE_DATABASE_URL of the service, where it can be reached"
    if url is None:
        yield note("log", "whether service and database are one log cannot be seen: there is no URL of one", change)
        return
    try:
        connection = await examining.connect(url)
    except Exception:
        yield note("log", "whether service and database are one log cannot be seen: see the line `database`", change)
        return
    try:
        async for finding in probing.compare_logs(client, connection):
            yield finding
    except asyncpg.InsufficientPrivilegeError:
        yield note("log", "whether service and database are one log cannot be seen: see the line `rights`", change)
    finally:
        connection.terminate()


async def findings_of(check: Check, change: str, *, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """What a check finds. One that fails is wrong itself, with what it had found before, and ends nothing else."""
    name, findings = check
    found: list[Finding] = []
    try:
        async with asyncio.timeout(seconds):
            async for finding in findings():
                found.append(finding)
    except TimeoutError:
        found.append(wrong(name, f"no answer within {seconds:g} s", change))
    except Exception as error:
        found.append(wrong(name, f"could not be checked: {saying(error)}", change))
    return found


def saying(error: Exception) -> str:
    """The kind of an error, and its text where that quotes no URL."""
    text = str(error) if isinstance(error, asyncpg.PostgresError | OSError | httpx.TransportError) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
