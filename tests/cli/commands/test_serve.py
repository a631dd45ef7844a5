"""The web server's options, and the addresses of servers that run."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.project import Project
from cryoloom.web import serve


@pytest.fixture
def started(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        serve, "serve", lambda projects, files, options, say: seen.append((projects, options))
    )
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["serve", *arguments], env={"COLUMNS": "300"})
        assert result.exit_code == 0, result.output
        return result.output, seen

    return invoke


def test_by_default_the_projects_below_this_folder(started, tmp_path):
    Project.create(tmp_path / "a" / "project")
    _, ((projects, options),) = started()
    assert projects == [tmp_path / "a" / "project"]
    assert options.host == "127.0.0.1"
    assert options.open_browser


def test_the_options_of_a_shared_server(started, tmp_path):
    Project.create(tmp_path / "p")
    given = (
        "--host 0.0.0.0 --allow-host lab --certificate c.pem --certificate-key k.pem --root raw --no-browser"
    )
    _, ((projects, options),) = started("p", *given.split())
    assert projects == [tmp_path / "p"]
    assert (options.host, options.allowed_hosts, options.open_browser) == ("0.0.0.0", ("lab",), False)
    assert options.certificate.name == "c.pem"
    assert options.roots == (tmp_path / "raw",)


def test_addresses_of_running_servers(started, tmp_path):
    Project.create(tmp_path / "p")
    Project.create(tmp_path / "q")
    (tmp_path / "p" / ".serve").write_text("http://127.0.0.1:8080/?token=x\n")
    output, seen = started("--list")
    assert "http://127.0.0.1:8080/?token=x" in output
    assert str(tmp_path / "q") not in output
    assert seen == []
