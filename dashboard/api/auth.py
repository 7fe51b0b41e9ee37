"""`POST /api/auth/token`: a token for the operator's password."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, SecretStr

from dashboard.api.amounts import Answer
from dashboard.api.security import sign_in

router = APIRouter(prefix="/auth", tags=["auth"])


class Password(BaseModel):
    """What a client sends."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)]


class TokenAnswer(Answer):
    """A token and how long it lasts, in seconds."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the name of a scheme
    expires_in: int


@router.post("/token")
def token(request: Request, given: Password) -> TokenAnswer:
    """Sign in. 401 for a wrong password, 429 after five wrong ones in a minute."""
    text, seconds = sign_in(request, given.password.get_secret_value())
    return TokenAnswer(access_token=text, expires_in=seconds)
