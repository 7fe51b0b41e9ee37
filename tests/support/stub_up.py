"""`gridflow up` with the stub worker, as its own process: `python -m tests.support.stub_up STATE [SECONDS]`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from flows.runtime.stack import Stack, UpOptions
from tasks.base.errors import StackError
from tasks.base.redis import RedisClient
from tasks.base.settings import Settings, load


async def summarise(settings: Settings, redis: RedisClient) -> dict[str, Any]:
    """Proves that Valkey still answers after the worker has ended."""
    return {"valkey_answers": await redis.ping()}


def main() -> None:
    """Run it; the summary is the only line on stdout."""
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else None
    options = UpOptions(
        seconds=seconds, dashboard=False, worker_module="tests.support.stub_worker", summarise=summarise
    )

    async def run() -> dict[str, Any]:
        return await Stack(load(), Path(sys.argv[1]), options, lambda line: print(line, file=sys.stderr)).run()

    try:
        print(json.dumps(asyncio.run(run())))
    except StackError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
