"""The migrations make the schema that the tables declare, and can be taken back."""

from alembic import command
from alembic.script import ScriptDirectory

from factwire.store.schema.migrate import is_empty, migrate
from factwire.store.schema.revisions import newest_revision
from factwire.store.schema.upgrade import configuration


def test_the_migrated_schema_is_the_declared_one(fresh_database_url: str) -> None:
    command.check(configuration(fresh_database_url))


def test_a_migrated_database_can_be_taken_back_and_migrated_again(fresh_database_url: str) -> None:
    assert not is_empty(fresh_database_url)
    command.downgrade(configuration(fresh_database_url), "base")
    migrate(fresh_database_url)
    command.check(configuration(fresh_database_url))


def test_the_newest_revision_by_the_names_of_the_files_is_that_of_alembic() -> None:
    assert newest_revision() == ScriptDirectory.from_config(configuration()).get_current_head()
