"""Log records: one line each on standard error, with the id of the request that they belong to."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal

import structlog
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from structlog.typing import Processor


class LogSettings(BaseSettings):
    """The settings of the log, read from the environment like `app.settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="LDSBOARD_", use_attribute_docstrings=True)

    log_format: Literal["logfmt", "json"] = "logfmt"
    """Form of each line: ``logfmt`` for people (`key=value`), or ``json`` for programs that collect logs."""


def configure_logs(settings: LogSettings) -> None:
    """Write the records of the service, and the warnings of its libraries, as single lines on standard error."""
    renderer: Processor = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    if settings.log_format == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[structlog.processors.add_log_level, *common, renderer],
    )
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, *common], processors=last
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
