"""The size and the names of the folders of the source: what is checked here has no list of exceptions."""

from __future__ import annotations

import re
from pathlib import Path

import grimp

import cryoloom

PACKAGE = Path(cryoloom.__file__).parent
MOST_FILES = 25
"""Files in a folder, so that its names can be read: chosen with the layout, as in issue 14."""
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "misc", "common", "core"}
"""Names of modules that hold whatever found no other place (STYLE.md, section 1)."""
MAIN_PATH = Path(__file__).parents[1] / "docs" / "explanation" / "main-path.md"


def folders() -> dict[Path, list[Path]]:
    """Files of every folder of the source, by the folder's path in the package."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    found: dict[Path, list[Path]] = {}
    for path in files:
        found.setdefault(path.parent.relative_to(PACKAGE), []).append(path)
    return found


def test_no_folder_holds_more_files_than_can_be_read():
    """But `steps`, where one file is one step."""
    too_many = {
        str(folder): len(files)
        for folder, files in folders().items()
        if len(files) > MOST_FILES and folder != Path("steps")
    }
    assert not too_many, f"divide these folders at a named idea: {too_many}"


def test_modules_are_named_for_what_they_hold():
    names = [path for files in folders().values() for path in files if path.suffix == ".py"]
    assert not [path for path in names if path.stem in NAMES_THAT_SAY_NOTHING or path.stem.endswith("_old")]


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("cryoloom")
    waiting = {name: len(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    free = [name for name, n in waiting.items() if n == 0]
    while free:  # take away what imports nothing that is left; a circle remains
        name = free.pop()
        del waiting[name]
        for importer in graph.find_modules_that_directly_import(name):
            waiting[importer] -= 1
            if waiting[importer] == 0:
                free.append(importer)
    assert not waiting, f"these import each other, directly or through others: {sorted(waiting)}"


def test_the_main_path_names_code_that_exists():
    """Each link to a file, with the names after it: ``[`file`](path): `name```."""
    text = MAIN_PATH.read_text()
    files = re.findall(r"\]\(([^)#]+\.(?:py|yaml))\)", text)
    assert len(files) > 12
    assert not [file for file in files if not (MAIN_PATH.parent / file).is_file()]
    named = re.findall(r"\]\(([^)#]+\.py)\): `(\w+)`", text)
    assert len(named) > 5
    texts = {file: (MAIN_PATH.parent / file).read_text() for file, _ in named}
    assert not [(file, name) for file, name in named if not re.search(rf"\b{name}\b", texts[file])]
