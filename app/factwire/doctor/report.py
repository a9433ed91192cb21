"""Report of `factwire doctor`: runs the checks in order and prints each finding, with the change that it needs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import asyncpg
import httpx

from factwire.doctor import database_checks, database_measurements, service_checks
from factwire.doctor.finding import Finding, note, wrong
from factwire.postgres_url import target_of
from factwire.settings import Settings
from factwire.store import embedded
from factwire.store.connection import Connection
from factwire.store.connection_errors import explain_failure

CHECK_SECONDS = 15.0
OTHER_CONNECTIONS = 11  # besides those for reads: two manage, four claim, three watch, one appends, one listens


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """Options of the checks that are not settings. Facts are published only in the namespace that was named for it."""

    processes: int
    publish_in: str | None = None
    idle_seconds: float | None = None


def run(settings: Settings, options: DoctorOptions, *, as_json: bool) -> int:
    """Print each finding at once, or all as JSON, and return the exit code: 1 if a verdict is wrong."""
    return asyncio.run(print_findings(settings, options, as_json=as_json))


async def print_findings(settings: Settings, options: DoctorOptions, *, as_json: bool) -> int:
    findings = []
    for part in (database_findings(settings, options), service_findings(settings, options)):
        async for finding in part:
            findings.append(finding)
            if not as_json:
                print(f"{finding.verdict:<6} {finding.check:<13} {finding.detail}", flush=True)
                if finding.change:
                    print(f"{'':<20} change: {finding.change}", flush=True)
    wrongs = sum(finding.verdict == "wrong" for finding in findings)
    if as_json:
        print(json.dumps({"wrong": wrongs, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 1 if wrongs else 0


async def database_findings(settings: Settings, options: DoctorOptions) -> AsyncIterator[Finding]:
    url = url_of(settings)
    if url is None:
        directory = settings.data_dir or embedded.default_directory()
        detail = f"FACTWIRE_DATABASE_URL is unset, and no embedded PostgreSQL runs in {directory}"
        yield note("database", detail, "set it to check the database, or start the service")
        return
    try:
        connection = await database_checks.connect(url)
    except Exception as error:
        yield wrong("database", *explain_failure(error))
        return
    try:
        for check in checks_of_database(connection, settings, options, url):
            if connection.is_closed():
                yield wrong(
                    "database", "the connection was lost", "see in the log of PostgreSQL why, and run this again"
                )
                return
            for finding in await findings_of(check, "read the log of PostgreSQL"):
                yield finding
    finally:
        connection.terminate()


def url_of(settings: Settings) -> str | None:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded.running_url(settings.data_dir or embedded.default_directory())


Check = tuple[str, Callable[[], AsyncIterator[Finding]]]


def checks_of_database(connection: Connection, settings: Settings, options: DoctorOptions, url: str) -> list[Check]:
    listen_url = settings.listen_url.get_secret_value() if settings.listen_url else url
    listening = partial(
        database_measurements.try_listening,
        listen_url=listen_url,
        own_url=settings.listen_url is not None,
        poll_seconds=settings.poll_seconds,
    )
    needed = options.processes * (settings.read_connections_max + OTHER_CONNECTIONS)
    checks: Sequence[tuple[str, Callable[[Connection], AsyncIterator[Finding]]]] = (
        ("server", database_checks.describe_server),
        ("primary", database_checks.find_primary),
        ("encryption", database_checks.look_at_encryption),
        ("schema", database_checks.compare_schema),
        ("rights", database_checks.list_rights),
        ("durability", database_checks.judge_durability),
        ("standbys", database_checks.look_at_standbys),
        ("history", database_checks.judge_history),
        ("connections", partial(database_checks.count_connections, needed=needed)),
        ("session", partial(database_checks.compare_session, pooled=target_of(url).pooled)),
        ("statements", partial(database_measurements.try_statements, url=url)),
        ("lock", partial(database_measurements.try_lock, url=url)),
        ("lock", database_checks.name_lock_holders),
        ("lock", database_checks.count_strangers),
        ("listening", listening),
        ("partitions", database_measurements.measure_room),
        ("memory", database_measurements.weigh_memory),
        ("commits", database_measurements.time_commits),
        ("clocks", database_measurements.compare_clocks),
        ("transactions", database_measurements.find_old_transactions),
    )
    return [(name, partial(check, connection)) for name, check in checks]


async def service_findings(settings: Settings, options: DoctorOptions) -> AsyncIterator[Finding]:
    try:
        client = service_checks.new_client(settings.url, settings.credentials)
        shown = f"{client.base_url.scheme}://{client.base_url.netloc.decode()}"
    except Exception as error:  # its text may quote part of the password
        yield wrong("service", f"the URL is of no use ({type(error).__name__})", "correct FACTWIRE_URL or --url")
        return
    async with client:
        try:
            found = [finding async for finding in service_checks.look_at_door(client)]
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            detail = f"no answer from {shown}: {describe_without_url(error)}"
            if "url" in settings.model_fields_set:
                yield wrong("service", detail, "start the service, or correct FACTWIRE_URL or --url")
            else:
                yield note("service", detail, "start the service, or set its address with FACTWIRE_URL or --url")
            return
        for finding in found:
            yield finding
        if found[-1].verdict == "wrong":
            return
        for check in checks_of_service(client, settings, options):
            change = "read the logs of the service and of the proxy"
            for finding in await findings_of(check, change, seconds=CHECK_SECONDS + (options.idle_seconds or 0)):
                yield finding


def checks_of_service(client: httpx.AsyncClient, settings: Settings, options: DoctorOptions) -> list[Check]:
    checks: list[Check] = [
        ("way", partial(service_checks.look_at_way, client)),
        ("state", partial(service_checks.read_metrics, client)),
        ("log", partial(compare_logs, client, settings)),
        ("answers", partial(service_checks.time_answers, client)),
        ("body", partial(service_checks.send_large_body, client)),
        ("stream", partial(service_checks.watch_stream, client)),
    ]
    if options.publish_in is not None:
        checks.append(("delivery", partial(service_checks.measure_delivery, client, namespace=options.publish_in)))
    if options.idle_seconds is not None:
        seconds, usual = options.idle_seconds, settings.heartbeat_seconds
        checks.append(("idle", partial(service_checks.stay_idle, client, seconds=seconds, heartbeat_seconds=usual)))
    return checks


async def compare_logs(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[Finding]:
    url, change = url_of(settings), "run this with the FACTWIRE_DATABASE_URL of the service, where it can be reached"
    if url is None:
        yield note("log", "service and database cannot be compared: the URL of one is missing", change)
        return
    try:
        connection = await database_checks.connect(url)
    except Exception:
        yield note("log", "whether service and database are one log cannot be seen: see the line `database`", change)
        return
    try:
        async for finding in service_checks.compare_logs(client, connection):
            yield finding
    except asyncpg.InsufficientPrivilegeError:
        yield note("log", "whether service and database are one log cannot be seen: see the line `rights`", change)
    finally:
        connection.terminate()


async def findings_of(check: Check, change: str, *, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """Findings of a check. A check that fails adds the verdict wrong to its findings; the other checks still run."""
    name, findings = check
    found: list[Finding] = []
    try:
        async with asyncio.timeout(seconds):
            async for finding in findings():
                found.append(finding)
    except TimeoutError:
        found.append(wrong(name, f"no answer within {seconds:g} s", change))
    except Exception as error:
        found.append(wrong(name, f"could not be checked: {describe_without_url(error)}", change))
    return found


def describe_without_url(error: Exception) -> str:
    """Type of an error, and its text if it cannot quote a URL."""
    text = str(error) if isinstance(error, asyncpg.PostgresError | OSError | httpx.TransportError) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
