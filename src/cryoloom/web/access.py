"""Access to the web application: tokens, the cookies they are exchanged for, and roles."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryoloom.errors import UserInputError

__all__ = ["Access", "Role", "read_token_file"]

Role = Literal["owner", "viewer"]
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True)
class Access:
    """Tokens and host names of one server. Tokens are new at each start unless they come from a file."""

    owner_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    viewer_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    cookie_name: str = "cryoloom"
    """Name of the cookie, with the port in it, because all ports of a host share cookies."""
    allowed_hosts: frozenset[str] = frozenset()
    """Host names in addition to those of this machine, without a port."""
    secure: bool = False
    """Whether browsers use TLS to reach the server; the cookie is then only sent by TLS."""

    def is_known_host(self, host: str) -> bool:
        """Whether a Host header has a name of this server; the port may be that of a tunnel."""
        name = host.lower()
        if not name.endswith("]"):
            head, colon, port = name.rpartition(":")
            if colon and not port.isdecimal():
                return False
            name = head if colon else name
        return name in _LOCAL_NAMES or name in self.allowed_hosts

    def role_of_token(self, token: str) -> Role | None:
        """Role for a token; every comparison takes the same time."""
        given = token.encode()
        is_owner = hmac.compare_digest(given, self.owner_token.encode())
        is_viewer = hmac.compare_digest(given, self.viewer_token.encode())
        return "owner" if is_owner else "viewer" if is_viewer else None

    @staticmethod
    def derived_token(token: str) -> str:
        """A viewer's token, which changes only with the owner's token and does not reveal it."""
        return hmac.new(token.encode(), b"viewer", hashlib.sha256).hexdigest()

    def new_session(self, role: Role) -> str:
        """Value of a cookie: role and a random number, signed. It does not contain the token."""
        stem = f"{role}.{secrets.token_urlsafe(16)}"
        return f"{stem}.{self._signature(stem)}"

    def role_of_session(self, session: str) -> Role | None:
        """Role in a cookie that this server, or a server with the same token, has set."""
        stem, _, signature = session.rpartition(".")
        if not stem or not hmac.compare_digest(signature.encode(), self._signature(stem).encode()):
            return None
        return "owner" if stem.startswith("owner.") else "viewer"

    def _signature(self, stem: str) -> str:
        return hmac.new(self.owner_token.encode(), stem.encode(), hashlib.sha256).hexdigest()


def read_token_file(path: Path) -> str:
    """A token that stays valid after a restart, from a file that only its owner can read.

    Raises UserInputError for a file others can read, or a token that could be guessed.
    """
    try:
        mode, token = path.stat().st_mode, path.read_text().strip()
    except OSError as error:
        raise UserInputError(f"the token file {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise UserInputError(f"others can read the token file {path}; run chmod 600 {path}")
    if not re.fullmatch(r"[A-Za-z0-9_-]{24,}", token):  # it is part of a URL
        raise UserInputError(
            f"the token in {path} has {len(token)} characters; expected at least 24 letters, digits, - or _ "
            "(for example from `openssl rand -hex 32`)"
        )
    return token
