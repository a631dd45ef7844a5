"""Starting the server: ways of listening, sockets and ports, and the projects of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.names import FILE_NAME
from cryoloom.web.serve import ServeOptions, find_projects, listen


@pytest.mark.parametrize(
    "options",
    [
        ServeOptions(host="0.0.0.0"),
        ServeOptions(host="0.0.0.0", allowed_hosts=("tomo.example.org",)),
        ServeOptions(host="10.0.0.1", behind_proxy=True),
    ],
)
def test_listening_for_other_machines_must_be_meant(options: ServeOptions) -> None:
    with pytest.raises(UserInputError, match="--host"):
        options.check()
    ServeOptions(host="0.0.0.0", allowed_hosts=("tomo.example.org",), behind_proxy=True).check()


def test_projects_are_found_three_folders_deep_and_none_within_another(tmp_path: Path) -> None:
    places = ["a", "b/project", "c/d/e", "c/d/e/inside", "x/y/z/too_deep", ".hidden/p"]
    for place in places:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / FILE_NAME).touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = [str(path.relative_to(tmp_path)) for path in find_projects(tmp_path)]
    assert found == ["a", "b/project", "c/d/e"]
    assert find_projects(tmp_path / "a") == [tmp_path / "a"]
    assert find_projects(tmp_path / "none") == []


def test_a_port_that_is_taken_is_reported_or_the_next_one_used() -> None:
    first, port = listen(ServeOptions(port=0))
    try:
        assert port is not None
        with pytest.raises(TransientError, match=f"port {port}.*give --port"):
            listen(ServeOptions(port=port))
    finally:
        first.close()
    some, chosen = listen(ServeOptions())
    others, another = listen(ServeOptions())
    try:
        assert chosen is not None
        assert another is not None
        assert 8080 <= chosen < another < 8120
    finally:
        some.close()
        others.close()


def test_a_unix_socket_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening, port = listen(ServeOptions(socket_path=path))
    listening.close()
    assert port is None
    assert path.stat().st_mode & 0o777 == 0o600
    listen(ServeOptions(socket_path=path))[0].close()  # one left by a killed server is taken over
    path.unlink()
    path.write_text("notes")
    with pytest.raises(UserInputError, match="is not a socket"):
        listen(ServeOptions(socket_path=path))
    assert path.read_text() == "notes"
