"""A command's connections, with bounded waits: an error names the server that does not answer, and what to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import click
from redis.exceptions import RedisError

from flows.runtime.archiving import DURABLE_SECONDS
from flows.runtime.stack import children
from flows.runtime.stack.processes import age_seconds
from tasks.base.errors import PrefectUnavailable, StackError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.control.prefect_runs import PrefectRuns
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.running import recorded_stack, redis_url, running_stack

T = TypeVar("T")
_COMMAND_SECONDS = 4.5  # for a whole command, from its start
_MIN_SECONDS = 2.0  # for Redis, where the machine was slow to start the command
_PREFECT_SECONDS = 2.5
_REPORT_EVERY_SECONDS = 2.5


def run_with_redis(work: Callable[[RedisClient], Awaitable[T]], settings: Settings, state: Path | None) -> T:
    """Run `work` with a client of the account's Redis, within the time that a command has; its result.

    Raises StackError, in one sentence, where Redis does not answer in time.
    """

    async def run() -> T:
        async with asyncio.timeout(max(_MIN_SECONDS, _COMMAND_SECONDS - age_seconds())):
            async with redis_client(settings, state) as redis:
                return await work(redis)

    try:
        return asyncio.run(run())
    except TimeoutError:
        raise StackError(redis_not_answering(settings, state)) from None


@asynccontextmanager
async def redis_client(settings: Settings, state: Path | None) -> AsyncIterator[RedisClient]:
    """A client of the account's Redis that gives up within seconds. Raises StackError when Redis does not answer."""
    client = connect(redis_url(settings, state), impatient=True)
    try:
        await client.ping()
        yield client
    except (RedisError, OSError) as error:
        raise StackError(f"{redis_not_answering(settings, state)} ({error or type(error).__name__})") from error
    finally:
        await client.aclose()


async def is_durable(redis: RedisClient, settings: Settings, state: Path | None) -> bool:
    """Write what a command has just done to the history database; whether it has it within a second and a half."""
    from tasks.history.database import Database, history_url  # imports the database's libraries
    from tasks.history.direct import write_now

    database = Database(history_url(settings, state_dir(state)), busy_seconds=DURABLE_SECONDS / 2)
    try:
        return await write_now(redis, Keys(settings.account), database, DURABLE_SECONDS)
    finally:
        await database.close()


def note_durable(durable: bool) -> None:
    """Say on stderr where a command's change is in force and not in the history yet."""
    if not durable:
        click.echo("In force, not yet durable: the history does not hold it yet. A worker archives it", err=True)


def redis_not_answering(settings: Settings, state: Path | None) -> str:
    """An error text: Redis does not answer, since when, and what to do."""
    stack = recorded_stack(state)
    if settings.redis_url is not None or stack is None:
        return "Redis does not answer as it should. Check that it runs and that redis_url (GRIDFLOW_REDIS_URL) names it"
    return f"{_not_answering(children.VALKEY, f'at {stack.redis}', state)}. {_remedy(state)}"


def _not_answering(name: str, where: str, state: Path | None) -> str:
    stack = recorded_stack(state)
    since = stack.silent.get(name) if stack else None
    return f"{name} {where} does not answer" + (f" since {since}" if since else "")


def _remedy(state: Path | None) -> str:
    if running_stack(state) is None:
        return "Its `gridflow up` was killed: start it again, or end what still runs with `gridflow stop --force`"
    return "The stack restarts it after 15 s: try again, or end everything at once with `gridflow stop --force`"


def check_prefect(api: str, state: Path | None) -> None:
    """Return when the Prefect server and its database answer.

    Raises within seconds, in one sentence: StackError for the stack's own server, PrefectUnavailable for another.
    """
    try:
        PrefectRuns(api, timeout_seconds=_PREFECT_SECONDS).check_ready()
        return
    except PrefectUnavailable as error:
        why, stack = error.why, running_stack(state)
        if stack is None or stack.prefect_api != api:
            raise
    silent = [name for name in (children.POSTGRES, children.PREFECT_SERVER) if name in stack.silent]
    name = silent[0] if silent else children.PREFECT_SERVER
    where = f"at {api}" if name == children.PREFECT_SERVER else f"in {stack.postgres_data}"
    raise StackError(f"{_not_answering(name, where, state)} ({why}). {_remedy(state)}")


def warn_unresponsive(state: Path | None, names: Iterable[str] = children.STOP_ORDER) -> None:
    """Print one line on stderr for each process of the stack that does not answer now."""
    stack = running_stack(state)
    for name in names if stack else ():
        if stack is not None and name in stack.silent:
            click.echo(f"{_not_answering(name, '', state).replace('  ', ' ')}. {_remedy(state)}", err=True)


class Progress:
    """Prints every few seconds on stderr what the command waits for."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._reported_at = self._begun

    def report(self, what: str) -> None:
        """Print it, unless a line was printed in the last few seconds."""
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_EVERY_SECONDS:
            self._reported_at = now
            click.echo(f"Progress for {what} ({now - self._begun:.0f} s)", err=True)
