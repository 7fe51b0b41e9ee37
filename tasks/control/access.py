"""Who may use the HTTP API and the pages: one password, and tokens that it gives.

The secret that signs tokens and the hash of the password lie in `access.json` in the state folder, which only its owner
may read. The environment may give both instead (`dashboard.password`, `dashboard.token_secret`). There is no default.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tasks.base.clock import Clock, utc_now
from tasks.base.errors import GridflowError, StateError
from tasks.settings.model import Settings

USER = "operator"
LONGEST = timedelta(days=365)
FILE_NAME = "access.json"
_ALGORITHM = "HS256"
_REQUIRED = ("exp", "iat", "iss", "jti", "user_id", "key")


class AccessDenied(GridflowError):
    """The password or token does not give access; the message says why, and never repeats it."""


class Token(NamedTuple):
    """A token, and when it ends."""

    text: str
    expires: datetime


class Access:
    """Checks passwords and tokens of one account."""

    def __init__(self, settings: Settings, folder: Path, clock: Clock = utc_now) -> None:
        """`folder`: the state folder. Nothing is read or written yet."""
        self._account, self._path, self._clock = settings.account, folder / FILE_NAME, clock
        given = settings.dashboard.password, settings.dashboard.token_secret
        self._password, self._secret = (one.get_secret_value() if one else None for one in given)
        self._hasher = PasswordHasher()
        self._hash_of_given = self._hasher.hash(self._password) if self._password else ""

    def begin(self) -> str | None:
        """Make the file where it does not exist; the new password, which nothing shows again. None: it exists.

        Raises StateError where the file cannot be written or read.
        """
        if self._path.exists():
            self._read()
            return None
        password = secrets.token_urlsafe(16)
        fresh = {"secret": secrets.token_hex(32), "password": self._hasher.hash(password), "generation": 1}
        if not self._write(fresh, only_new=True):
            return None  # another process was faster
        return None if self._password else password

    def has_password(self) -> bool:
        """Whether somebody has a password already."""
        return self._password is not None or self._path.exists()

    def new_password(self) -> str:
        """Replace the password; earlier tokens end. Raises StateError where the environment gives the password."""
        if self._password:
            raise StateError("the password comes from the environment (GRIDFLOW_DASHBOARD__PASSWORD). Change it there")
        self.begin()
        password, found = secrets.token_urlsafe(16), self._read()
        self._write({**found, "password": self._hasher.hash(password), "generation": int(found["generation"]) + 1})
        return password

    def revoke_all(self) -> None:
        """End every token that was given until now. Raises StateError."""
        self.begin()
        found = self._read()
        self._write({**found, "generation": int(found["generation"]) + 1})

    def sign_in(self, password: str, lasts: timedelta) -> Token:
        """A token for the password. Raises AccessDenied for a wrong one; takes as long for a wrong one as for a right
        one.
        """
        try:
            self._hasher.verify(self._hash_of_given or str(self._read()["password"]), password)
        except (VerificationError, InvalidHashError):
            raise AccessDenied("the password is wrong") from None
        return self.token(lasts)

    def token(self, lasts: timedelta) -> Token:
        """A new token. Whoever may read the state folder may have one. Raises StateError, and ValueError for a time
        that is not above 0 and at most 365 days.
        """
        if not timedelta(0) < lasts <= LONGEST:
            raise ValueError(f"a token lasts more than 0 and at most {LONGEST.days} days")
        self.begin()
        found, now = self._read(), self._clock().astimezone(UTC)
        claims = {
            "user_id": USER,
            "iss": self._issuer,
            "jti": uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int((now + lasts).timestamp()),
            "key": self._key(found),
        }
        return Token(jwt.encode(claims, self._signing_key(found), _ALGORITHM), now + lasts)

    def check(self, token: str) -> Mapping[str, Any]:
        """The claims of a token. Raises AccessDenied where it is forged, has ended, or is of another account."""
        found = self._read()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._signing_key(found),
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},  # by the injected clock
            )
            ends = float(claims["exp"])
        except (jwt.PyJWTError, ValueError, TypeError):
            raise AccessDenied("the token is not valid") from None
        if ends <= self._clock().timestamp():
            raise AccessDenied("the token has expired")
        if not hmac.compare_digest(str(claims["key"]), self._key(found)):
            raise AccessDenied("the token was revoked")
        return claims

    @property
    def _issuer(self) -> str:
        return f"gridflow/{self._account}"

    def _signing_key(self, found: Mapping[str, Any]) -> bytes:
        return hashlib.sha256((self._secret or str(found["secret"])).encode()).digest()

    def _key(self, found: Mapping[str, Any]) -> str:
        """What changes with the password and with each revocation."""
        text = f"{found['generation']} {self._password or found['password']}"
        return hmac.new(self._signing_key(found), text.encode(), hashlib.sha256).hexdigest()[:32]

    def _read(self) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            return {name: found[name] for name in ("secret", "password", "generation")}
        except FileNotFoundError:
            raise StateError(f"{self._path} does not exist: nobody has a password yet. Run `gridflow token`") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise StateError(f"{self._path} cannot be read. Delete it: a new password is made") from None

    def _write(self, found: Mapping[str, Any], only_new: bool = False) -> bool:
        """Replace the file in one step; `only_new`: only where there is none. Whether it was written."""
        part = self._path.with_name(f"{FILE_NAME}.{uuid4().hex}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(dict(found), file)
            if only_new:
                os.link(part, self._path)
            else:
                part.replace(self._path)
        except FileExistsError:
            return False
        except OSError as error:
            raise StateError(f"{self._path} cannot be written: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        return True
