"""Checks for configuration mistakes of the database: each check reports a finding and the change that it needs.

The checks are read-only. A check yields nothing if it does not apply: on a standby, or without the schema.
"""

import time
from collections.abc import AsyncIterator
from statistics import median

import asyncpg

from factwire.doctor.durability import weak_settings
from factwire.doctor.finding import Finding, note, ok, wrong
from factwire.store import connection
from factwire.store.connection import CONNECT_SECONDS, SESSION, Connection
from factwire.store.privileges import missing_privileges, open_to_all
from factwire.store.read_tail import Fork
from factwire.store.requirements import CREATE_ANEW, ENCODINGS
from factwire.store.schema.migrate import VERSION_MIN, missing_rights
from factwire.store.schema.revisions import UNRELEASED_REVISION, newest_revision, read_revision
from factwire.store.timelines import read_kept, read_server

SAMPLES = 5
FAR_SECONDS = 0.005

SERVER = """
select current_setting('server_version') as version,
       current_setting('server_version_num')::int as version_number,
       current_setting('server_encoding') as encoding,
       current_database() as database,
       quote_ident(current_database()) as quoted_database,
       quote_ident(current_user) as role
"""

ROUND_TRIP = "select 1"

WRITABLE = "select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as read_only"

ENCRYPTION = """
select coalesce(inet_client_addr() in ('127.0.0.1', '::1') or inet_client_addr() = inet_server_addr(), true) as local,
       (select version from pg_stat_ssl where pid = pg_backend_pid() and ssl) as protocol
"""

SYNCHRONOUS_COMMIT_SOURCE = "select source from pg_settings where name = 'synchronous_commit'"

# Without pg_read_all_stats, a role sees the standbys but not their state.
STANDBYS = """
select current_setting('synchronous_standby_names') as names,
       current_setting('synchronous_commit') in ('off', 'local') as passed_over,
       count(pid) as connected,
       bool_or(sync_state in ('sync', 'quorum')) as waited_for
  from pg_stat_replication
"""

CONNECTIONS = """
select current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int as server,
       nullif((select rolconnlimit from pg_roles where rolname = current_user), -1) as role,
       nullif((select datconnlimit from pg_database where datname = current_database()), -1) as database,
       (select count(*) from pg_stat_activity
         where backend_type = 'client backend' and not starts_with(application_name, 'factwire')) as others
"""

# Restricted to this database, since advisory locks are per database. The key of the lock has 64 bits, which pg_locks
# shows in two halves. A prepared transaction has no process.
FOREIGN_LOCK_HOLDERS = """
select k.pid,
       coalesce(a.usename, '') as role,
       coalesce(a.application_name, '') as application
  from factwire.log l
  join pg_locks k
    on k.locktype = 'advisory'
   and k.granted
   and k.database = (select oid from pg_database where datname = current_database())
   and (k.classid::bigint << 32 | k.objid::bigint) = l.lock_key
   and k.objsubid = 1
  left join pg_stat_activity a on a.pid = k.pid
 where not starts_with(coalesce(a.application_name, ''), 'factwire ')
 order by k.pid
"""

# Excluded are the owner of the schema and superusers: they have all rights on the log anyway.
STRANGERS = """
select count(r.oid) as count,
       quote_ident(current_database()) as database,
       concat_ws(', ', quote_ident(current_user), nullif(quote_ident(o.name), quote_ident(current_user))) as ours
  from (select pg_get_userbyid(max(nspowner)) as name from pg_namespace where nspname = 'factwire') as o
  left join pg_roles r
    on r.rolcanlogin
   and not r.rolsuper
   and r.rolname not in (current_user, coalesce(o.name, current_user))
   and has_database_privilege(r.oid, current_database(), 'connect')
 group by o.name
"""

SESSION_NOW = "select name, current_setting(name, true) as value from unnest($1::text[]) as name"

RESETS = {
    "user": "alter role {role} reset synchronous_commit",
    "database": "alter database {database} reset synchronous_commit",
    "database user": "alter role {role} in database {database} reset synchronous_commit",
}


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection with the same parameters as the service."""
    return await connection.connect(url, application_name="factwire doctor", statement_seconds=CONNECT_SECONDS)


async def describe_server(connection: Connection) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(SERVER)
    assert row is not None
    away = await time_of(connection, ROUND_TRIP)
    detail = f"PostgreSQL {row['version']}, database {row['database']}, role {row['role']}, {away * 1000:.2f} ms away"
    if row["version_number"] < VERSION_MIN:
        yield wrong("server", detail, "upgrade to PostgreSQL 15 or newer")
    elif away > FAR_SECONDS:
        yield note("server", detail, "run the service near the database: each publish and each page waits so long")
    else:
        yield ok("server", detail)
    if row["encoding"] in ENCODINGS:
        yield ok("encoding", row["encoding"])
    else:
        yield wrong("encoding", f"{row['encoding']}, which lacks characters", CREATE_ANEW)


async def find_primary(connection: Connection) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(WRITABLE)
    assert row is not None
    if row["standby"]:
        change = (
            "to publish, name the primary in FACTWIRE_DATABASE_URL, or all hosts and target_session_attrs=read-write"
        )
        yield note("primary", "this is a standby: history and streams are served, nothing is published", change)
    elif row["read_only"]:
        yield wrong("primary", "transactions are read-only", "turn default_transaction_read_only off")
    else:
        yield ok("primary", "takes writes")


async def look_at_encryption(connection: Connection) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(ENCRYPTION)
    assert row is not None
    if row["protocol"] or row["local"]:
        yield ok("encryption", row["protocol"] or "not needed: the connection does not leave the machine")
    else:
        change = "turn on ssl in PostgreSQL, and add sslmode=verify-full to FACTWIRE_DATABASE_URL"
        yield note("encryption", "none: facts and passwords can be read on the way", change)


async def compare_schema(connection: Connection) -> AsyncIterator[Finding]:
    newest = newest_revision()
    try:
        revision = await read_revision(connection)
    except asyncpg.InsufficientPrivilegeError:
        return  # reported by the check of rights
    if revision == newest:
        yield ok("schema", f"{revision}, current")
    elif revision is not None and revision > newest:
        yield note("schema", f"{revision}, this version knows {newest}", "upgrade the service too: this is for a while")
    elif revision is not None and UNRELEASED_REVISION.fullmatch(revision):
        change = "export its facts with the version that created it, and import them into a new database"
        yield wrong("schema", f"{revision} is from before the first release", change)
    else:
        refused = "; ".join(await missing_rights(connection))
        change = "run `factwire migrate`" + (f" as a role that may: {refused}" if refused else "")
        yield wrong("schema", f"{revision} is older than {newest}" if revision else "it does not exist", change)


async def list_rights(connection: Connection) -> AsyncIterator[Finding]:
    try:
        lacking = await missing_privileges(connection)
    except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError):
        return  # reported by the check of the schema
    if lacking is None:
        return
    if lacking.grants:
        yield wrong("rights", f"role {lacking.role} may not serve", f"as {lacking.owner}: {'; '.join(lacking.grants)}")
    else:
        yield ok("rights", f"role {lacking.role} may serve")
    opened = await open_to_all(connection)
    if opened:
        detail = (
            f"every role may execute functions that run with the privileges of {lacking.owner}: {', '.join(opened)}"
        )
        change = "; ".join(f"revoke execute on function {function} from public" for function in opened)
        yield wrong("rights", detail, f"as {lacking.owner}: {change}")
    else:
        yield ok("rights", "functions with the owner's privileges are not open to every role")


async def judge_durability(connection: Connection) -> AsyncIterator[Finding]:
    weak = await weak_settings(connection)
    row = await connection.fetchrow(SERVER)
    assert row is not None
    source = await connection.fetchval(SYNCHRONOUS_COMMIT_SOURCE)
    for name in weak:
        detail = f"{name} is off: a crash of the database may lose facts that were acknowledged"
        system = f"alter system set {name} = on; select pg_reload_conf()"
        change = RESETS.get(source, system) if name == "synchronous_commit" else system
        yield wrong("durability", detail, change.format(role=row["role"], database=row["quoted_database"]))
    if not weak:
        yield ok("durability", "acknowledged facts survive a crash")


async def look_at_standbys(connection: Connection) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(STANDBYS)
    assert row is not None
    if not row["names"]:
        detail = f"{row['connected']} connected, none is waited for: losing this server may lose the newest facts"
        yield ok("standbys", detail)
    elif row["passed_over"]:
        change = "set synchronous_commit = on"
        yield note("standbys", "synchronous_standby_names is set, but synchronous_commit passes them over", change)
    elif not row["connected"] or row["waited_for"] is False:
        change = "bring a standby of synchronous_standby_names back, or take the name out"
        yield wrong("standbys", "no synchronous standby is connected: publishing hangs", change)
    else:
        yield ok("standbys", "a synchronous standby has all acknowledged facts")


async def judge_history(connection: Connection) -> AsyncIterator[Finding]:
    """Report lost facts (fork detection), and a promotion or a restore that has not been confirmed since."""
    try:
        kept = await read_kept(connection)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return  # reported by the check of the schema
    except asyncpg.InsufficientPrivilegeError:
        return  # reported by the check of rights
    server = await read_server(connection)
    if kept.fork is not None:
        yield wrong("history", *explain_fork(kept.fork))
    elif server is None:
        yield ok("history", "no fork was detected; the server does not report promotions and restores")
    elif kept.server is None or kept.server == server:
        yield ok("history", f"no fork was noticed, and timeline {server.timeline} is confirmed")
    else:
        detail = (
            f"promoted or restored ({kept.server.change_to(server)}), and it is not confirmed that nothing was lost"
        )
        yield note("history", detail, "`factwire epoch raise` if commits were lost, else `factwire epoch keep`")


def explain_fork(fork: Fork) -> tuple[str, str]:
    """Description of a detected fork, and the change that it needs."""
    if fork.after is None:
        change = (
            "`factwire epoch raise --forked-after N` with the last position that is known to be the same; if in doubt 0"
        )
        return "facts after an unknown position were replaced or are gone: nothing is published", change
    return (
        f"facts after position {fork.after} were replaced or are gone: nothing is published",
        f"factwire epoch raise --forked-after {fork.after}",
    )


async def count_connections(connection: Connection, *, needed: int) -> AsyncIterator[Finding]:
    """Compare the connection limits with `needed`, the connections that all processes together may open."""
    row = await connection.fetchrow(CONNECTIONS)
    assert row is not None
    limit = min(row[name] for name in ("server", "role", "database") if row[name] is not None)
    detail = f"{needed} may be needed, {limit} are allowed, others have {row['others']}"
    change = "raise max_connections (or the limit of the role or the database), or lower FACTWIRE_READ_CONNECTIONS_MAX"
    if needed > limit:
        yield wrong("connections", detail, change)
    elif needed + row["others"] > row["server"]:
        yield note("connections", detail, change)
    else:
        yield ok("connections", detail)


async def name_lock_holders(connection: Connection) -> AsyncIterator[Finding]:
    """Sessions that hold the advisory lock of the log and do not have an application name of Factwire."""
    try:
        holders = await connection.fetch(FOREIGN_LOCK_HOLDERS)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return  # reported by the checks of schema and rights
    for row in holders:
        if row["pid"] is None:
            detail, change = "a prepared transaction", "roll it back: see pg_prepared_xacts"
        else:
            detail = (
                f"process {row['pid']} of role {row['role']}, application {row['application'] or 'without a name'},"
            )
            change = f"select pg_terminate_backend({row['pid']}), and find out which program it was"
        yield wrong("lock", f"{detail} holds the lock that orders the log: publishing is stopped", change)


async def count_strangers(connection: Connection) -> AsyncIterator[Finding]:
    """Count other roles that may connect: the lock key is not secret, and no privilege protects an advisory lock."""
    row = await connection.fetchrow(STRANGERS)
    assert row is not None
    if row["count"]:
        detail = f"{row['count']} other roles may connect: each can hold the lock of the log and stop publishing"
        change = "revoke connect on database {database} from public; grant connect on database {database} to {ours}"
        change = change.format(**row)
        yield note("lock", detail, change)
    else:
        yield ok("lock", "no other role may connect and hold it, except superusers")


async def compare_session(connection: Connection, *, pooled: bool) -> AsyncIterator[Finding]:
    """Check that the session settings of the service take effect.

    TCP keepalives are not compared: over a Unix socket they read as 0.
    """
    if pooled:
        yield ok("session", "each transaction sets its own limits, as transactions are pooled")
        return
    asked = {name: value for name, value in SESSION.items() if not name.startswith("tcp_")}
    rows = await connection.fetch(SESSION_NOW, list(asked))
    differing = [row["name"] for row in rows if row["value"] != asked[row["name"]]]
    role = await connection.fetchval("select quote_ident(current_user)")
    change = "; ".join(f"alter role {role} set {name} = '{asked[name]}'" for name in differing)
    if "default_transaction_isolation" in differing:
        yield wrong("session", "transactions are not read committed: publishing refuses that", change)
    elif differing:
        yield note("session", f"something on the way drops {', '.join(differing)}", change)
    else:
        yield ok("session", "read committed; the server ends the sessions of vanished processes")


async def time_of(connection: Connection, statement: str) -> float:
    """Median duration of a few runs, in seconds."""
    taken = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        await connection.execute(statement)
        taken.append(time.perf_counter() - began)
    return median(taken)
