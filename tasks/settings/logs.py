"""Starts logging as the settings say."""

import logging

from tasks.base.log_setup import LogFile, RedisLogHandler, setup
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.secret_values import secret_texts

FOLDER = "logs"  # in the state folder
OPERATOR_LOG = "gridflow.log"  # in that folder; `gridflow up` makes it


def start_logging(settings: Settings, source: str) -> RedisLogHandler:
    """Log to the terminal, to a file in the state folder, and to the returned handler. `source`: the process."""
    file = LogFile(state_dir() / FOLDER, settings.logs.file_mb * 1_000_000, settings.logs.files)
    level = logging.getLevelNamesMapping()[settings.logs.level.upper()]
    operator = file.folder / OPERATOR_LOG
    return setup(
        secret_texts(settings), source, level=level, file=file, operator=operator if operator.is_file() else None
    )
