"""`gridflow up` with a stub worker, as its own process: `python -m tests.support.stub_up STATE`."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from flows.runtime.stack.stack import Stack, UpOptions
from tasks.base.errors import StackError
from tasks.base.redis_client import RedisClient
from tasks.settings.load import load
from tasks.settings.model import Settings


async def summarise(settings: Settings, redis: RedisClient) -> dict[str, Any]:
    """Proves that Valkey still answers after the worker has ended."""
    return {"valkey_answers": await redis.ping()}


def main() -> None:
    """Run it; the summary is the only line on stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--for", dest="seconds", type=float)
    parser.add_argument("--worker", default="tests.support.stub_worker")
    asked = parser.parse_args()
    options = UpOptions(seconds=asked.seconds, dashboard=False, worker_module=asked.worker, summarise=summarise)

    async def run() -> dict[str, Any]:
        return await Stack(load(), asked.state, options, lambda line: print(line, file=sys.stderr, flush=True)).run()

    try:
        summary = asyncio.run(run())
        print(json.dumps(summary))
        if summary["failed"]:
            raise StackError("; ".join(summary["failed"]))
    except StackError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
