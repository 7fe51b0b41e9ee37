"""Errors in one shape, `application/problem+json` (RFC 9457): type, title, status, detail, and `errors` by field."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from dashboard.connection import NoData, NoHistory
from tasks.base.errors import ConfigError, PrefectNotFound, PrefectUnavailable, StackError, StateError

log = logging.getLogger(__name__)
_RETRY_SECONDS = "5"


class ProblemResponse(JSONResponse):
    """A problem as JSON."""

    media_type = "application/problem+json"


class Problem(Exception):
    """Raised by a route: the answer is this problem."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> ProblemResponse:
    """The answer for an error. `errors`: field, and the rule that its value breaks; never the value itself."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = [dict(one) for one in errors]
    return ProblemResponse(body, status, dict(headers or {}))


def handle_problems(api: FastAPI) -> None:
    """Answer every error of the API as a problem."""

    @api.exception_handler(Problem)
    def of_route(_request: Request, error: Problem) -> Response:
        return problem(error.status, error.detail, error.headers)

    @api.exception_handler(HTTPException)
    def of_framework(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), error.headers)

    @api.exception_handler(RequestValidationError)
    def of_validation(_request: Request, error: RequestValidationError) -> Response:
        errors = [{"field": ".".join(map(str, one["loc"][1:])), "rule": one["msg"]} for one in error.errors()]
        said = "; ".join(f"{one['field'] or 'body'}: {one['rule']}" for one in errors)
        return problem(422, said, errors=errors)

    @api.exception_handler(NoData)
    @api.exception_handler(NoHistory)
    @api.exception_handler(PrefectUnavailable)
    @api.exception_handler(StackError)
    def of_parts(_request: Request, error: Exception) -> Response:
        return problem(503, str(error), {"Retry-After": _RETRY_SECONDS})

    @api.exception_handler(ConfigError)
    def of_input(_request: Request, error: ConfigError) -> Response:
        return problem(422, str(error))

    @api.exception_handler(StateError)
    @api.exception_handler(PrefectNotFound)
    def of_state(_request: Request, error: Exception) -> Response:
        return problem(409, str(error))

    @api.exception_handler(Exception)
    def of_program(request: Request, error: Exception) -> Response:
        log.error("request failed", exc_info=error, extra={"method": request.method, "path": request.url.path})
        return problem(500, "the program failed; its log says more")
