"""Kills or freezes a coroutine in the middle of a wait: at its n-th suspension."""

from asyncio import CancelledError, sleep
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Killed(BaseException):
    """The worker process is gone: nothing after this line runs."""


class Mortal(Generic[T]):
    """Awaits `work` and kills it at its `life`-th suspension: calls `die` and throws the exception that it returns.

    Before that it waits for `last_breath` seconds, while requests that it has started go on. It then cancels the future
    that `work` waited for, as the event loop does, so that the loop stops watching the future's socket. `lived` counts
    suspensions, and `life` may be changed meanwhile. `at_wait` is called at each suspension. `freezes`: suspension →
    seconds; `work` waits that long there and then goes on.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        life: int,
        die: Callable[[], BaseException | None],
        at_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._work, self._die, self._at_wait = work, die, at_wait
        self.life = life
        self.last_breath = 0.0
        self.freezes: dict[int, float] = {}
        self.lived = 0

    def __await__(self) -> Generator[Any, Any, T]:
        """Drive the coroutine step by step."""
        steps = self._work.__await__()
        answer: Any = None
        failure: BaseException | None = None
        while True:
            try:
                waiting = steps.throw(failure) if failure is not None else steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            self.lived += 1
            self._at_wait()
            answer = failure = None
            if self.lived == self.life:
                failure = self._die()
                if failure is not None:
                    yield from sleep(self.last_breath).__await__()
                    yield from _let_go(waiting)
                    continue
            try:
                if self.lived in self.freezes:
                    yield from _frozen(self.freezes[self.lived], waiting)
                answer = yield waiting
            except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, as the event loop would
                failure = error


def _frozen(seconds: float, waiting: Any) -> Generator[Any, Any, None]:
    """Stand still; a cancellation that comes meanwhile is one of what is waited for, too."""
    try:
        yield from sleep(seconds).__await__()
    except CancelledError:
        yield from _let_go(waiting)
        raise


def _let_go(waiting: Any) -> Generator[Any, Any, None]:
    """Cancel and let the loop see it; a bare pause (None) has nothing to cancel. How it ends reaches nobody."""
    if waiting is not None:
        waiting.cancel()
        with suppress(CancelledError, Exception):
            yield waiting
