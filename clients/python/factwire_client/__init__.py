"""Client of Factwire: publish, decide, read, follow, project and work, from programs with tasks or without."""

from ._async.client import AsyncFactwire
from ._async.views import AsyncPsycopgView
from ._sync.client import Factwire
from ._sync.views import PsycopgView
from .errors import (
    FactwireError,
    OutcomeUnknown,
    PayloadInvalid,
    Problem,
    TakenOver,
    TooManyFacts,
    TransactionLost,
    UnexpectedAnswer,
    Unreachable,
)
from .events import Event
from .facts import Fact, Json, NewFact, Page, Published, Query
from .problems import ConditionFailed, CursorForked, FactIdConflict, FactNotFound
from .views import AsyncpgView, FileView, SqliteView
from .work import Claimed, Park, Retry

__all__ = [
    "AsyncFactwire",
    "AsyncPsycopgView",
    "AsyncpgView",
    "Claimed",
    "ConditionFailed",
    "CursorForked",
    "Event",
    "Fact",
    "FactIdConflict",
    "FactNotFound",
    "Factwire",
    "FactwireError",
    "FileView",
    "Json",
    "NewFact",
    "OutcomeUnknown",
    "Page",
    "Park",
    "PayloadInvalid",
    "Problem",
    "PsycopgView",
    "Published",
    "Query",
    "Retry",
    "SqliteView",
    "TakenOver",
    "TooManyFacts",
    "TransactionLost",
    "UnexpectedAnswer",
    "Unreachable",
]
