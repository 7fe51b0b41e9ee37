"""What an operator does over the API: pause, resume, rebalance, stop. Each is written down as done by `api`."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from dashboard.api.amounts import Answer
from dashboard.api.security import operator
from dashboard.connection import prefect, reader
from tasks.base.redis_client import RedisClient
from tasks.control import runs
from tasks.control import steps as control
from tasks.control.actions import Actor, record

router = APIRouter(prefix="/control", tags=["control"], dependencies=[Depends(operator)])
_Symbol = Annotated[str, Field(max_length=40)]


class Symbols(BaseModel):
    """Of what: these symbols, or the whole pot where none is named."""

    symbols: Annotated[list[_Symbol], Field(max_length=500)] = []


class Done(Answer):
    """What is in force now."""

    success: bool = True
    result: str


class Started(Answer):
    """A flow run that was started, and its page at the Prefect server."""

    success: bool = True
    run_id: str
    link: str


@router.post("/pause")
def pause(of: Symbols) -> Done:
    """Grant no new buys; resting orders stay, sells go on. 422 for a symbol that is not configured."""
    source = reader()
    source.read(lambda redis: control.pause(redis, source.settings, of.symbols, by=Actor.API))
    return Done(result=f"paused: {', '.join(of.symbols) or 'the whole pot'}")


@router.post("/resume")
def resume(of: Symbols) -> Done:
    """Take pauses back; without symbols the pot's pause and an operator's stop."""
    source = reader()
    source.read(lambda redis: control.resume(redis, source.settings, of.symbols, by=Actor.API))
    return Done(result=f"resumed: {', '.join(of.symbols) or 'the whole pot'}")


@router.post("/stop")
def stop() -> Done:
    """Stop the pot: ticks cancel what rests and place nothing, until `resume`."""
    source = reader()
    source.read(lambda redis: control.stop(redis, source.settings, by=Actor.API))
    return Done(result="stopped: orders are cancelled at the next ticks")


@router.post("/rebalance", status_code=202)
def rebalance() -> Started:
    """Start the deployment rebalance/manual; 503 where the Prefect server does not answer."""
    source, server = reader(), prefect()
    run_id = runs.start_rebalance(server, source.settings.account)

    async def note(redis: RedisClient) -> None:
        await record(redis, source.keys, Actor.API, "rebalance", (), f"started flow run {run_id}")

    source.read(note)
    return Started(run_id=run_id, link=server.page(run_id))
