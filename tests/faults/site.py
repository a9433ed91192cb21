"""Where one fault is injected: PostgreSQL, services, recorded clients, and what becomes of them."""

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.clients import Client, Conditional, Exporter, PageReader, Publisher, Shared
from tests.faults.followers import Follower
from tests.faults.history import Keys, Loss, Raised, Recorder
from tests.faults.pair import Node, Pair
from tests.support.service import ServiceProcess, free_port, settings_of
from tests.support.waiting import until

CLOCK = "clock"
PUBLISHERS = 5
RECOVERY_SECONDS = 60.0
SETTLE_SECONDS = 45.0
POLL_SECONDS = 0.02
RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Setup:
    """What a fault needs around it. `workers` has a number for each service, `beside` further clients."""

    workers: tuple[int, ...] = (1, 1)
    standby: str = ""  # "", "synchronous" or "asynchronous"
    quiet: bool = False  # only the nemesis publishes
    beside: tuple[type[Publisher], ...] = ()
    text_bytes_max: int = 400
    settings: Mapping[str, object] = field(default_factory=dict)
    service_environment: Mapping[str, str] = field(default_factory=dict)
    postgres_environment: Mapping[str, str] = field(default_factory=dict)
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    tmpfs_mebibytes: int = 0


class Site:
    def __init__(self, directory: Path, setup: Setup, recorder: Recorder, seed: str) -> None:
        self.directory = directory
        self.setup = setup
        self.recorder = recorder
        self.random = random.Random(f"{seed}/nemesis")
        self.node: Node
        self.pair: Pair | None = None
        self.loss: Loss | None = None
        self.services: list[ServiceProcess] = []
        self.shared = Shared(recorder, [], seed, setup.text_bytes_max)
        self.followers: list[Follower] = []
        self.beside: list[Publisher] = []
        self._nodes: list[Node] = []
        self.round = 0
        self.over_at = 0.0
        self._probes: dict[str, Publisher] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def database_url(self) -> str:
        return self.pair.url if self.pair else self.node.url

    def over(self) -> None:
        """From here on, everything may recover."""
        self.over_at = time.monotonic()

    def lost(self, *, forked_after: int, acknowledged: bool) -> None:
        self.loss = Loss(self.recorder.now(), forked_after, acknowledged)
        self.recorder.add(self.loss)

    def raised(self, since: float, epoch: int) -> None:
        self.recorder.add(Raised(since, self.recorder.now(), epoch))

    def holds_keys_of(self, data_subjects: list[str]) -> None:
        self.recorder.add(Keys(self.recorder.now(), data_subjects))

    def join(self, database_url: str) -> ServiceProcess:
        """Start one more service, which the clients do not know of."""
        self.services.append(self._service(free_port(), 1, database_url=database_url))
        return self.services[-1]

    def restart(self, service: ServiceProcess) -> ServiceProcess:
        """Start a service anew where it was, as whatever supervises it does."""
        index = self.services.index(service)
        self.services[index] = self._service(service.port, self.setup.workers[index])
        return self.services[index]

    async def recovered(self) -> float:
        """Seconds from the end of the fault until each service publishes, and its followers receive that."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                await asyncio.gather(*map(self._recovered, self._probes))
        except TimeoutError:
            raise AssertionError(f"nothing recovers within {RECOVERY_SECONDS} s:\n{self.log_end()}") from None
        return time.monotonic() - self.over_at

    def follow_anew(self, process: str, after: str) -> None:
        """Follow from a cursor, as a client does that was told of a loss."""
        self.follow(Follower(self.shared, process, after=after))

    def log_end(self) -> str:
        return "\n".join(service.log[-2000:] for service in self.services)

    async def settle(self) -> None:
        """Stop the publishers, let every follower reach the head, and read the whole log once more."""
        self.shared.stopping.set()
        publishing = [task for task in self._tasks if task.get_name() not in {it.process for it in self.followers}]
        if publishing:
            await asyncio.wait(publishing, timeout=SETTLE_SECONDS)
        for client in self.beside:
            await client.finish()
        auditor = Client(self.shared, "auditor", url=self.shared.urls[-1])
        head = await self._audit(auditor)
        with suppress(TimeoutError):  # the checker tells who is missing what
            await until(lambda: all(it.refused or it.position >= head for it in self.followers), seconds=SETTLE_SECONDS)
        await self._stop_clients()
        await self._audit(auditor)
        await auditor.aclose()

    async def _stop_clients(self) -> None:
        """Raises what a client failed with: one that saw nothing proves nothing."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _audit(self, auditor: Client) -> int:
        async with asyncio.timeout(SETTLE_SECONDS):
            while (outcome := await auditor.export(0)).status != 200:
                await asyncio.sleep(0.2)
        return outcome.head

    async def start(self) -> None:
        self.set_clock(0)
        await asyncio.to_thread(self._start_postgres)
        for workers in self.setup.workers:
            self.services.append(self._service(free_port(), workers))
            await self.services[-1].ready()  # the first one makes the schema
        self.shared.urls += [service.url for service in self.services]
        for number, url in enumerate(self.shared.urls):
            self.follow(Follower(self.shared, f"follower-of-{number}", url=url))
            self._probes[url] = Publisher(self.shared, f"probe-{number}", url=url)
        if not self.setup.quiet:
            self._be_busy()
        await self.recovered()

    def follow(self, follower: Follower) -> None:
        """Let one more client follow, until the run is over."""
        self.followers.append(follower)
        self._tasks.append(asyncio.create_task(follower.run(), name=follower.process))

    def follow_slowly(self, count: int) -> list[Follower]:
        slow = [Follower(self.shared, f"slow-{number}", after="1:0") for number in range(count)]
        for follower in slow:
            self.follow(follower)
        return slow

    def set_clock(self, seconds: int) -> None:
        """Let the clock of what runs under libfaketime be fast or slow."""
        written = self.directory / f"{CLOCK}.new"
        written.write_text(f"{seconds:+d}\n")
        written.chmod(0o644)
        written.replace(self.directory / CLOCK)

    async def publishes(self, url: str) -> int:
        """Publish one fact at an address, and return its position."""
        probe = self._probes[url]
        sent, bodies = probe.batch(1)
        while not (outcome := await probe.publish(sent, bodies, None)).acknowledged:
            await asyncio.sleep(RETRY_SECONDS)
        return outcome.positions[0]

    def _be_busy(self) -> None:
        self.beside = [kind(self.shared, f"{kind.__name__.lower()}-{n}") for n, kind in enumerate(self.setup.beside)]
        clients: list[Publisher | PageReader | Exporter] = [
            *self.beside,
            *(Publisher(self.shared, f"publisher-{number}") for number in range(PUBLISHERS)),
            *(Conditional(self.shared, f"conditional-{number}") for number in range(3)),
            *(PageReader(self.shared, f"reader-{number}") for number in range(2)),
            Exporter(self.shared, "exporter"),
        ]
        for client in clients:
            self.let_run(client)
        self.follow(Follower(self.shared, "follower-anywhere"))
        self.follow(Follower(self.shared, "follower-of-a-type", type="OrderPaid"))

    def let_run(self, client: Publisher | PageReader | Exporter) -> None:
        self._tasks.append(asyncio.create_task(client.run(), name=client.process))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for service in self.services:
            if service.process.poll() is None:
                await service.kill()
        for node in self._nodes:
            await asyncio.to_thread(node.remove)
        if self.setup.tmpfs_mebibytes:
            await asyncio.to_thread(run, "umount", "--lazy", str(self.directory / "disk"))

    def _start_postgres(self) -> None:
        if self.setup.standby:
            self.pair = Pair(self.directory, synchronous=self.setup.standby == "synchronous")
            self.node = self.pair.primary
            self._nodes += [self.pair.primary, self.pair.standby]
        else:
            disk = self.directory / "disk"
            disk.mkdir()
            if self.setup.tmpfs_mebibytes:
                run("mount", "-t", "tmpfs", "-o", f"size={self.setup.tmpfs_mebibytes}m", "tmpfs", str(disk))
            disk.chmod(0o777)
            self.node = Node(disk / "postgres", environment=self._here(self.setup.postgres_environment))
            self._nodes.append(self.node)
            self.node.initialise()
            self.node.start(**self.setup.postgres_settings)

    def _here(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {name: value.format(directory=self.directory) for name, value in environment.items()}

    def _service(self, port: int, workers: int, *, database_url: str = "") -> ServiceProcess:
        settings = settings_of(
            **{"database_url": database_url or self.database_url, "port": port, "workers": workers, "drain_seconds": 2}
            | dict(self.setup.settings)
        )
        return ServiceProcess(
            settings | self._here(self.setup.service_environment), log_path=self.directory / f"service-{port}.log"
        )

    async def _recovered(self, url: str) -> None:
        position = await self.publishes(url)
        following = next(it for it in self.followers if it.url == url)
        await until(lambda: bool(following.refused) or following.position >= position, seconds=RECOVERY_SECONDS)


@asynccontextmanager
async def site_of(directory: Path, setup: Setup, recorder: Recorder, seed: str) -> AsyncIterator[Site]:
    site = Site(directory, setup, recorder, seed)
    try:
        await site.start()
        yield site
    finally:
        await site.close()


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=10)
