"""Startup checks of a process: the URLs of the database, its requirements and its schema."""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from factwire.api.http.context import Context
from factwire.doctor.durability import weak_settings
from factwire.doctor.tls import unverified_hosts
from factwire.domain.errors import Unavailable
from factwire.postgres_url import left_out_of
from factwire.settings import Settings
from factwire.store.master_key_rotation import has_foreign_key
from factwire.store.requirements import Requirements
from factwire.store.schema.revisions import schema_is_current

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


def warn_of_urls(settings: Settings) -> None:
    for name, url in (("DATABASE", settings.database_url), ("LISTEN", settings.listen_url)):
        left_out = () if url is None else left_out_of(url.get_secret_value())
        if left_out:
            log.warning("FACTWIRE_%s_URL: %s is not supported here and is ignored", name, ", ".join(left_out))
        hosts = () if url is None else unverified_hosts(url.get_secret_value())
        if hosts:
            log.warning(
                "the identity of %s is not verified: add sslmode=verify-full and sslrootcert to FACTWIRE_%s_URL",
                " and ".join(hosts),
                name,
            )


async def wait_for_schema(context: Context, requirements: Requirements) -> None:
    """Wait until the database meets the requirements and its schema is current: then the process is ready."""
    warned = False
    while not context.schema_seen:
        with suppress(Unavailable):
            await requirements.require()
            async with context.pools.watch.acquire() as connection:
                weak = await weak_settings(connection)
                context.schema_seen = await schema_is_current(connection)
                if context.schema_seen and await has_foreign_key(connection, context.pools.master_keys):
                    log.error("payloads of some data subjects cannot be decrypted: their master key is not configured")
            if not context.schema_seen and not warned:
                warned = True
                log.warning("the schema of the database is missing or old: run `factwire migrate`")
            if context.schema_seen and weak:
                log.error("a crash of the database may lose acknowledged facts: turn on %s", ", ".join(weak))
        if not context.schema_seen:
            await asyncio.sleep(context.settings.poll_seconds)
