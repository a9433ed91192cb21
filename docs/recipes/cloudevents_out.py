"""Write the facts of a namespace as CloudEvents, one a line: all that there are, or, without an end, all that come too.

python cloudevents_out.py http://127.0.0.1:8000 shop > events.ndjson
python cloudevents_out.py http://127.0.0.1:8000 shop --follow [cursor] >> events.ndjson
"""

import os
import sys

from factwire_client import Factwire, Problem, Query


def main(url: str, namespace: str, follow: str = "", cursor: str = "start") -> None:
    with Factwire(url, key=os.environ.get("KEY")) as log:
        try:
            for event in log.events(Query(namespaces=[namespace]), after=cursor, cloudevents=True):
                if event.name == "fact":
                    sys.stdout.buffer.write(event.data.encode() + b"\n")
                    sys.stdout.flush()
                elif event.name == "caught-up" and follow != "--follow":
                    break
        except Problem as problem:
            sys.exit(problem.text)  # going on would be wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
