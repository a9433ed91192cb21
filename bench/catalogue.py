"""All scenarios, in the order in which they run: history is read before anything is published to a log."""

from bench.options import Options
from bench.scenarios import access, herd, history, idle, live, publish, work
from bench.site import Scenario


def scenarios(options: Options) -> list[Scenario]:
    """Those whose name contains `--only`."""
    every = (
        work.scenarios(options)
        if options.work
        else [
            *history.scenarios(),
            *publish.scenarios(),
            *access.scenarios(),
            *live.scenarios(options),
            *idle.scenarios(options),
            *herd.scenarios(options),
        ]
    )
    return [scenario for scenario in every if options.only.lower() in scenario.name.lower()]
