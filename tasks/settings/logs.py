"""Starts logging as the settings say."""

import logging

from tasks.base.log_setup import LogFile, RedisLogHandler, setup
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.secret_values import secret_texts

FOLDER = "logs"  # in the state folder


def start_logging(settings: Settings, source: str) -> RedisLogHandler:
    """Log to the terminal, to a file in the state folder, and to the returned handler. `source`: the process."""
    file = LogFile(state_dir() / FOLDER, settings.logs.file_mb * 1_000_000, settings.logs.files)
    level = logging.getLevelNamesMapping()[settings.logs.level.upper()]
    return setup(secret_texts(settings), source, level=level, file=file)
