"""Commands are found by their files, summed up without being imported, and stand in a panel of the help."""

from __future__ import annotations

import subprocess
import sys

from cryoloom.cli.group import CommandGroup


def test_every_command_has_a_panel_and_a_sentence():
    summaries = CommandGroup(name="cryoloom").summaries()
    assert {"process", "exclude", "alerts", "serve"} <= set(summaries)
    assert not [name for name, (_, panel) in summaries.items() if panel is None]
    assert not [name for name, (summary, _) in summaries.items() if not summary.endswith((".", ";"))]


def test_the_help_imports_no_command():
    code = (
        "import sys; from cryoloom.cli.group import CommandGroup; CommandGroup(name='c').summaries(); "
        "sys.exit(any(name.startswith('cryoloom.cli.commands.') and not hasattr(module, '__path__') "
        "for name, module in sys.modules.items()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
