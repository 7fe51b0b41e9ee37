"""`GET /api/metrics`: the same as `/metrics`, with a token."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from dashboard.api.security import operator
from dashboard.metrics import metrics

router = APIRouter(tags=["metrics"], dependencies=[Depends(operator)])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def with_token(request: Request) -> Response:
    """Prometheus metrics."""
    return metrics(request)
