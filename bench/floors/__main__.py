"""`python -m bench.floors serve PORT URL` and `python -m bench.floors copy SECONDS URL FORMAT AFTER`."""

import asyncio
import gc
import json
import sys
from dataclasses import asdict

import uvicorn
import uvloop

from bench.floors.asgi import Floor
from bench.floors.copying import copy_repeatedly


def main() -> None:
    match sys.argv[1:]:
        case ["serve", port, database_url]:
            _serve(int(port), database_url)
        case ["copy", seconds, database_url, "text" | "binary" as form, after]:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(json.dumps(asdict(runner.run(copy_repeatedly(float(seconds), database_url, form, int(after))))))
        case _:
            sys.exit(__doc__)


def _serve(port: int, database_url: str) -> None:
    # Collections would make the floor slower than it has to be: a floor gets every advantage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    uvicorn.run(
        Floor(database_url),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
