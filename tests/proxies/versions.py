"""The version before the last migration: its code, and its schema."""

import subprocess
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from factwire.store.schema.upgrade import configuration
from tests.support.service import ROOT


def unpack_version_before(directory: Path) -> None:
    """Unpack the tree from before the newest migration. It comes from the history, which a shallow clone has not."""
    script = ScriptDirectory.from_config(configuration()).get_revision("head")
    assert script is not None
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", str(script.path)).decode().strip()
    directory.mkdir()
    # Not the module tarfile: unpacking without a warning differs between versions of Python 3.11.
    archive = git("archive", f"{added}^" if added else "HEAD")
    subprocess.run(["tar", "-x", "-C", directory], input=archive, timeout=30, check=True)


def take_schema_back(database_url: str) -> None:
    """Bring the schema to the one that the version before needs."""
    command.downgrade(configuration(database_url), "-1")


def git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=30, check=True)
    except FileNotFoundError:
        pytest.skip("without git there is no version before this one to run")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the history has no version before this one to run: {error.stderr.decode().strip()}")
    return done.stdout
