"""A log of the time before the first release comes through 0002 with its facts, and goes on."""

from asyncio import to_thread

import asyncpg
from alembic import command

from app.domain.position import START
from app.domain.query import Query, new_item
from app.store.migrations import configuration, migrate
from app.store.reading import Form, PageBounds, read_page
from tests.integration.store import a_fact, append_alone, read_ids

# What 0001 made at that time: documents without position and time, a posting for each fact, and two more columns.
OLD_FORM = """
alter table factwire.facts add column tags text[], add column digest bytea;
alter table factwire.facts disable trigger refuse_change;
alter table factwire.fact_tags disable trigger refuse_change;
update factwire.facts set document = substr(document, position('"id":'::bytea in document)), tags = '{}', digest = '';
insert into factwire.fact_tags (tag, position)
select tag, position - unnest(earlier) from factwire.fact_tags where earlier is not null;
alter table factwire.facts enable trigger refuse_change;
alter table factwire.fact_tags enable trigger refuse_change;
alter table factwire.fact_tags drop column earlier;
update factwire.alembic_version set version_num = '0001'
"""

QUERY = Query((new_item(types=["OrderPlaced"], aggregate_ids=["order-1"]),))


async def page(url: str, query: Query) -> bytes:
    connection = await asyncpg.connect(url)
    try:
        return (await read_page(connection, query, after=START, form=Form.EVENTS, bounds=PageBounds())).body
    finally:
        await connection.close()


async def test_a_log_of_the_old_form_keeps_its_facts_and_goes_on(fresh_database_url: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    facts = [a_fact(aggregate_ids=["order-1", f"customer-{number}"], meta={"tenant": "a"}) for number in range(5)]
    await append_alone(connection, *facts[:4])
    before = await page(fresh_database_url, Query()), await page(fresh_database_url, QUERY)
    await to_thread(command.downgrade, configuration(fresh_database_url), "0002")
    await connection.execute(OLD_FORM)

    await to_thread(migrate, fresh_database_url)
    await to_thread(command.check, configuration(fresh_database_url))
    assert (await page(fresh_database_url, Query()), await page(fresh_database_url, QUERY)) == before
    await append_alone(connection, facts[4])
    assert await read_ids(connection, QUERY) == [fact.id for fact in facts]
    await connection.close()
