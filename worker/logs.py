"""One JSON line per event on standard error, with what is bound to the current job; no arguments, no bodies, no tokens."""

import logging
import sys

import orjson
import structlog

# Chatter that would print addresses or repeat what our own lines say better.
QUIET = (
    "httpx",
    "httpcore",
    "celery.worker.strategy",
    "celery.app.trace",
    "kombu",
    "urllib3",
    "alembic",
    "uvicorn.access",
)


OURS = ("worker", "integrations", "models")


def _to_json(line: object, **_: object) -> str:
    # SQLAlchemy's names of tables are no plain strings: as keys they are refused without the option.
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(*, level: int = logging.INFO) -> None:
    """Route our own lines and every library's through one JSON form."""
    structlog.configure(
        processors=_SHORT_WAY,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(foreign_pre_chain=_SHARED, processors=[_without_meta, *_RENDER]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Celery prints the whole body of a message it cannot place; ours are refused and counted by `worker.app`.
    logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.CRITICAL)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.partition(".")[0] in OURS
        return record.getMessage() if ours else super().format(record)


def _where_it_broke(_: object, __: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """A traceback as places only. The text of a foreign exception may quote the data it choked on."""
    info = line.pop("exc_info", None)
    if not info:
        return line
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        line["exception"] = type(error).__name__
        line["places"] = _places(error)
    return line


def _places(error: BaseException) -> list[str]:
    places, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 2)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-12:]


_SHARED: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_RENDER: list[structlog.types.Processor] = [_where_it_broke, structlog.processors.JSONRenderer(serializer=_to_json)]
# Our own lines are JSON when they reach the handler: a worker writes one a job, so they take the short way. It is one list
# for good, because loggers keep the one that they were first used with.
_SHORT_WAY: list[structlog.types.Processor] = [structlog.stdlib.filter_by_level, *_SHARED, *_RENDER]
_without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
