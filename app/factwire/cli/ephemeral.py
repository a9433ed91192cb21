"""Parts of `factwire serve` for tests: an ephemeral database, facts to begin with, and the announcement of the URL."""

import argparse
import json
import os
import signal
from pathlib import Path

from pydantic import SecretStr

from factwire.cli.client import client_of
from factwire.cli.database import url_of
from factwire.cli.exit_codes import Exit, Stopped, complain, leave
from factwire.cli.import_facts import import_lines
from factwire.settings import Settings
from factwire.store import ephemeral

FREE_PORT = 0


def ephemeral_settings(options: argparse.Namespace, settings: Settings) -> Settings:
    """Settings of a service with a log of its own, whatever database the environment names. Raises Stopped."""
    if settings.workers != 1 and (options.ephemeral or options.announce or options.with_parent):
        raise Stopped("--ephemeral, --announce and --with-parent are for one process: leave out --workers", Exit.USAGE)
    if not options.ephemeral:
        if options.seed is not None:
            raise Stopped("--seed is for --ephemeral: use `factwire import` for a log that stays", Exit.USAGE)
        return settings
    if options.seed is not None:
        if "none" not in settings.auth_modes and not settings.is_open_implicitly:
            raise Stopped("--seed needs a service without authentication: unset FACTWIRE_AUTH", Exit.USAGE)
        if not Path(options.seed).is_file():
            raise Stopped(f"--seed: {options.seed} is not a file", Exit.USAGE)
    port = FREE_PORT if options.port is None else options.port
    return settings.model_copy(update={"database_url": None, "listen_url": None, "data_dir": None, "port": port})


def with_ephemeral_database(settings: Settings) -> Settings:
    signal.signal(signal.SIGTERM, leave)  # so that the server does not keep running
    return settings.model_copy(update={"database_url": SecretStr(ephemeral.start().url)})


class Announcement:
    """Import of the first facts, and then the first line of the output, once requests are served."""

    def __init__(self, url: str, settings: Settings, *, seed: str | None, announces: bool) -> None:
        self._url = url
        self._settings = settings
        self._seed = seed
        self._announces = announces
        self.code = Exit.DONE

    def __call__(self) -> None:
        try:
            if self._seed is not None:
                self._import(self._seed)
            if self._announces:
                line = {"url": self._url, "pid": os.getpid(), "database_url": url_of(self._settings)}
                print(json.dumps(line), flush=True)
        except Stopped as stopped:
            self._end(stopped.message, stopped.code)
        except Exception as error:  # in a thread: nothing else would tell of it, and the service would serve without it
            self._end(f"factwire: {error}", Exit.FAILED)

    def _end(self, why: str, code: Exit) -> None:
        complain(why)
        self.code = code
        os.kill(os.getpid(), signal.SIGTERM)

    def _import(self, seed: str) -> None:
        with client_of(self._settings.model_copy(update={"url": self._url})) as client:
            import_lines(client, seed)
