"""Workers of a subscription beside what befalls services, PostgreSQL and the pair."""

from dataclasses import replace

from tests.faults.nemeses.failovers import SYNCHRONOUS, fail_over, fail_over_with_loss
from tests.faults.nemeses.fault import Fault
from tests.faults.nemeses.kills import kill_postgres, kill_services, terminate_sessions
from tests.faults.nemeses.pauses import stop_service
from tests.faults.site import Setup
from tests.faults.workers import Shopper, Worker

WORKERS = Setup(workers=(1, 1, 1), beside=(*(Worker,) * 4, Shopper, Shopper))

FAULTS = (
    Fault("workers: kill -9 of two services of three", 12, kill_services, WORKERS),
    Fault("workers: kill -9 of PostgreSQL", 8, kill_postgres, WORKERS),
    Fault("workers: sessions terminated", 20, terminate_sessions, WORKERS),
    Fault("workers: SIGSTOP of a service", 3, stop_service, WORKERS),
    Fault("workers: fail-over", 1, fail_over, replace(SYNCHRONOUS, beside=WORKERS.beside), sites=2),
    Fault(
        "workers: fail-over that loses facts",
        1,
        fail_over_with_loss,
        Setup(standby="asynchronous", beside=WORKERS.beside),
        sites=2,
    ),
)
