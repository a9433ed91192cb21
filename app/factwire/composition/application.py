"""FastAPI application of one process: opens its components at the start and closes them at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from factwire import __version__
from factwire.api import (
    activity,
    catalogue,
    claims,
    cloudevents,
    erasure,
    explorer,
    export,
    facts,
    health,
    import_facts,
    index,
    keys,
    open_streams,
    parked,
    positions,
    publish,
    reference,
    sessions,
    streams,
    subscriptions,
    tickets,
)
from factwire.api.http.problems import answer_factwire_error, answer_http_exception, answer_unexpected
from factwire.api.http.sse import leave_shutdown_to_us
from factwire.api.openapi.document import document
from factwire.composition.components import build
from factwire.composition.startup import warn_of_urls
from factwire.domain.errors import FactwireError
from factwire.settings import Settings

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

RESOURCES = (
    import_facts,
    publish,
    cloudevents,
    export,
    facts,
    erasure,
    streams,
    open_streams,
    subscriptions,
    claims,
    parked,
    positions,
    catalogue,
    activity,
    keys,
    tickets,
    sessions,
    health,
    index,
    explorer,
    reference,
)
RESTART_SECONDS = 1.0


def create_app(settings: Settings) -> FastAPI:
    """Create an application for `settings.database_url`, which must be set. Nothing is opened before it starts."""
    assert settings.database_url is not None
    context, tasks = build(settings)
    leave_shutdown_to_us()
    warn_of_urls(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await context.pools.open()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(supervise(name, run)) for name, run in tasks.items()]
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    await asyncio.wait_for(context.publisher.drain(), settings.append_seconds)
                for task in running:
                    task.cancel()
        await context.pools.close()
        if context.tracing is not None:
            await asyncio.to_thread(context.tracing.close)

    app = FastAPI(title="Factwire", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    app.state.context = context
    for resource in RESOURCES:
        app.router.routes.extend(resource.router.routes)
    app.router.routes.append(reference.files())
    app.add_exception_handler(FactwireError, answer_factwire_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(Exception, answer_unexpected)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a task while the application runs. An unexpected failure is logged, and the task is started again."""
    while True:
        try:
            return await run()
        except Exception:
            log.exception("the %s failed and is restarted", name)
            await asyncio.sleep(RESTART_SECONDS)
