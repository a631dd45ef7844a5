"""Tokens, cookies and host names: who may come in, and as what."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.private_file import write_private
from cryoloom.web.access import Access, Role, read_token_file


def test_a_token_file_must_be_private_and_long(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, "short")
    with pytest.raises(UserInputError, match="5 characters"):
        read_token_file(path)
    write_private(path, "a" * 40 + "\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token_file(path) == "a" * 40
    path.chmod(0o640)
    with pytest.raises(UserInputError, match="chmod 600"):
        read_token_file(path)


def test_a_token_has_its_role_and_a_wrong_one_none() -> None:
    access = Access()
    assert access.role_of_token(access.owner_token) == "owner"
    assert access.role_of_token(access.viewer_token) == "viewer"
    assert access.role_of_token("") is None
    assert access.role_of_token(access.owner_token[:-1]) is None
    assert access.role_of_token("ü") is None
    assert access.owner_token not in repr(access)
    assert access.derived_token("a" * 40) == access.derived_token("a" * 40) != access.derived_token("b" * 40)


@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_a_session_is_signed_and_cannot_be_changed(role: Role) -> None:
    access = Access()
    session = access.new_session(role)
    assert access.role_of_session(session) == role
    assert access.owner_token not in session
    assert session != access.new_session(role)
    other = "owner" if role == "viewer" else "viewer"
    assert access.role_of_session(session.replace(role, other, 1)) is None
    assert Access().role_of_session(session) is None
    assert access.role_of_session("") is None


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("127.0.0.1:8080", True),
        ("LOCALHOST", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("Tomo.Example.org:443", True),
        ("example.org", False),
        ("tomo.example.org.evil.com", False),
        ("127.0.0.1:8080@evil.com", False),
        ("localhost:port", False),
        ("", False),
    ],
)
def test_host_names(host: str, is_known: bool) -> None:
    assert Access(allowed_hosts=frozenset({"tomo.example.org"})).is_known_host(host) is is_known


def test_a_token_that_is_no_word_of_an_address_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, "with spaces and / " * 3)
    with pytest.raises(UserInputError, match="letters, digits"):
        read_token_file(path)
    with pytest.raises(UserInputError, match="cannot be read"):
        read_token_file(tmp_path / "none")
