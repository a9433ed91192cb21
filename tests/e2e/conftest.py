"""Roles of the database for the tests of the service."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from tests.support.postgres import Databases, run_sql

# Some functions run with the rights of their owner, so that serving needs none to create, and none to destroy.
SERVING_RIGHTS = """
grant usage on schema factwire to {role};
grant select on all tables in schema factwire to {role};
grant execute on all functions in schema factwire to {role};
grant insert on factwire.facts, factwire.fact_tags, factwire.fact_ids, factwire.types to {role};
grant insert, update (types) on factwire.namespaces to {role};
grant insert, update (namespaces) on factwire.creators to {role};
grant insert on factwire.chain, factwire.sealed, factwire.data_subjects to {role};
grant update (forked_at, forked_after, system_identifier, timeline) on factwire.log to {role};
grant insert, update (last_used_at, revoked_at) on factwire.keys to {role};
grant insert, update, delete on factwire.key_secrets, factwire.tickets, factwire.sessions to {role}
"""


@pytest.fixture
def serving_url(databases: Databases, fresh_database_url: str) -> Iterator[str]:
    """The test's database, as a role with the rights above opens it."""
    role = f"{databases.prefix}_{uuid4().hex[:6]}_serving"
    run_sql(fresh_database_url, f"create role {role} login password 'serving'")
    run_sql(fresh_database_url, SERVING_RIGHTS.format(role=role))
    parts = urlsplit(fresh_database_url)
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{role}:serving@{host}"))
    run_sql(fresh_database_url, f"drop owned by {role}")
    run_sql(fresh_database_url, f"drop role {role}")
