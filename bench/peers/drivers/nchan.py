"""Publishing to one nchan channel over HTTP, and its subscribers as event streams."""

from itertools import cycle

from bench.peers.drivers.http import accepted_end, post, subscribe
from bench.peers.drivers.tasks import Deliveries, open_asking, run
from bench.peers.job import Job, Outcome, answer
from bench.peers.workload import facts


def fan_out(job: Job) -> Outcome:
    return run(_fan_out, job)


async def _fan_out(job: Job) -> Outcome:
    port = int(job.address)
    deliveries = Deliveries(job)
    await subscribe(port, "/follow", job.subscribers, deliveries.see)
    asking = await open_asking(port, accepted_end)
    prepared = cycle([post("/publish", fact.document) for fact in facts()])
    return await deliveries.fan_out(lambda: asking.ask(next(prepared)))


if __name__ == "__main__":
    answer({"fan_out": fan_out})
