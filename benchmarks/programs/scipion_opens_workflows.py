"""Scipion itself opens every workflow that `cryoloom workflow scipion` writes, and writes it back.

    python3 -m venv SCIPION; SCIPION/bin/pip install scipion-app scipion-em-tomo scipion-em-imod ...
    python benchmarks/programs/scipion_opens_workflows.py --scipion SCIPION/bin/python [FILE ...]

Each shipped workflow is written for Scipion, and so is each FILE: a workflow of ours (.yaml), or one of
Scipion's (JSON, a template), which is imported first. For those it is printed too how many of their protocols
became steps, have a stated counterpart, or are not known.

Scipion's own `Project.loadProtocols` reads the files (no programs of the plugins are needed for that), and
for every protocol it is counted

- whether Scipion knows its class;
- which keys of the file the protocol does not have, and which values it did not take over;
- which links do not arrive: the protocol that they name does not declare such an output, or the input does
  not accept what the output is.

Scipion then exports the project, and its file is imported here: the same steps, links and values as those of
its own file. Prints one line a workflow, and every fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HOSTS = """[localhost]
PARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s
NAME = NONE
MANDATORY = False
SUBMIT_COMMAND = bash %_(JOB_SCRIPT)s
CANCEL_COMMAND = kill %_(JOB_ID)s
CHECK_COMMAND = ps %_(JOB_ID)s
SUBMIT_TEMPLATE =
QUEUES = {}
"""
"""The least that Scipion asks of its settings of hosts."""


def main() -> None:
    """Write the workflows, let Scipion read them, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scipion", type=Path, help="the Python in which Scipion and its plugins are installed"
    )
    parser.add_argument("files", nargs="*", type=Path, help="more workflows, of ours or of Scipion")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        print(json.dumps(opened(options.inside)))
        return
    if options.scipion is None:
        parser.error("--scipion PYTHON is needed: the Python in which Scipion is installed")
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(compare(Path(folder), options.scipion, options.files))


def compare(folder: Path, scipion: Path, files: list[Path]) -> int:
    """Print what Scipion made of each workflow; 1 if there is a fault, 0 otherwise."""
    from cryoloom.engine.graph.workflow import load_workflow, shipped_workflows
    from cryoloom.scipion.workflow_export import write_scipion
    from cryoloom.scipion.workflow_import import import_scipion

    written = folder / "written"
    written.mkdir()
    for name in shipped_workflows():
        write_scipion(load_workflow(name), written / f"{name}.json")
    for path in files:
        name = path.name.split(".")[0]
        if path.suffix in (".yaml", ".yml"):
            workflow = load_workflow(path)
        else:
            workflow = import_scipion(path).workflow
            print(f"{name:45} {translated(path)}")
        write_scipion(workflow, written / f"{name}.json")
    (folder / "config").mkdir()
    (folder / "software" / "em").mkdir(parents=True)
    (folder / "config" / "hosts.conf").write_text(HOSTS)
    environment = os.environ | {"SCIPION_HOME": str(folder), "SCIPION_USER_DATA": str(folder / "data")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [scipion, __file__, "--inside", written],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    opened = json.loads(done.stdout.strip().splitlines()[-1])
    faults = 0
    for name, found in sorted(opened.items()):
        ours, theirs = (
            import_scipion(path).workflow for path in (written / f"{name}.json", Path(found["exported"]))
        )
        faults_here = found["faults"] + differences(ours, theirs)
        print(
            f"{name:45} {found['protocols']:3d} protocols, {found['loaded']:3d} opened, {found['values']:4d} "
            f"values, {found['links']:3d} links, {len(faults_here)} faults"
        )
        for fault in faults_here:
            print(f"    {fault}")
        faults += len(faults_here)
    return int(faults > 0)


def translated(path: Path) -> str:
    """How many protocols of a file became steps, have a stated counterpart, or are not known."""
    from cryoloom.scipion.rules import NO_RULE, RULES
    from cryoloom.scipion.template import read_scipion_workflow
    from cryoloom.scipion.workflow_import import import_scipion

    protocols = read_scipion_workflow(path).protocols
    steps_of = import_scipion(path).translation.steps_of
    others = [one for one in protocols if one.id not in steps_of]
    unknown = [one.class_name for one in others if one.class_name not in {*RULES, *NO_RULE}]
    return (
        f"{len(protocols):3d} protocols: {len(protocols) - len(others)} became steps, "
        f"{len(others) - len(unknown)} stated, {len(unknown)} not known {', '.join(unknown)}"
    )


def differences(ours: Any, theirs: Any) -> list[str]:
    """What is lost when Scipion's own file is imported instead of ours: steps, links and values."""
    first, second = ours.steps, theirs.steps
    if [node.step for node in first] != [node.step for node in second]:
        return [f"written back: {[n.step for n in second]}, expected {[n.step for n in first]}"]
    names = {one.name: other.name for one, other in zip(first, second, strict=True)}
    found = []
    for one, other in zip(first, second, strict=True):
        given = {None: one.input} | one.links
        linked = {None: other.input} | other.links
        for role, link in given.items():
            expected = link and ".".join([names[link.split(".")[0]], *link.split(".")[1:]])
            if linked.get(role) != expected:
                found.append(f"written back: {other.name} takes {linked.get(role)}, expected {expected}")
        for name, value in one.parameters.items():
            if not _equal(other.parameters.get(name), value):
                found.append(
                    f"written back: {other.name}.{name} is {other.parameters.get(name)!r}, expected {value!r}"
                )
    return found


def opened(written: Path) -> dict[str, dict[str, Any]]:
    """What Scipion makes of every file of a folder (run in Scipion's Python)."""
    import pyworkflow
    from pyworkflow.object import PointerList
    from pyworkflow.project import Manager

    pyworkflow.Config.setDomain("pwem")
    manager, found = Manager(), {}
    for path in sorted(written.glob("*.json")):
        entries = json.loads(path.read_text())
        project = manager.createProject(path.stem)
        loaded = project.loadProtocols(str(path))
        faults: list[str] = []
        values = links = 0
        for entry in entries:
            protocol = loaded.get(entry["object.id"])
            if protocol is None:
                faults.append(f"{entry['object.className']}: Scipion has no such protocol")
                continue
            attributes = dict(protocol.iterDefinitionAttributes())
            for key, value in entry.items():
                if key.startswith(("object.", "_")) or key in ("hostName", "runMode", "forceSchedule"):
                    continue
                where = f"{entry['object.className']}.{key}"
                if key not in attributes:
                    if not hasattr(protocol, key):
                        faults.append(f"{where}: the protocol has no such parameter")
                    continue
                attribute = attributes[key]
                if attribute.isPointer():
                    if value:
                        links += 1
                        faults += _link_faults(where, protocol.getParam(key), attribute, value)
                elif isinstance(attribute, PointerList):
                    links += len(value or ())
                    if len(attribute) != len(value or ()):
                        faults.append(f"{where}: {len(value or ())} links, {len(attribute)} arrived")
                else:
                    values += 1
                    if not _equal(attribute.get(), value):
                        faults.append(f"{where}: {value!r} became {attribute.get()!r}")
        exported = written.parent / f"{path.stem}.scipion.json"
        project.exportProtocols(project.getRuns(refresh=True), str(exported))
        found[path.stem] = {
            "protocols": len(entries),
            "loaded": len(loaded),
            "values": values,
            "links": links,
            "faults": faults,
            "exported": str(exported),
        }
    return found


def _link_faults(where: str, param: Any, pointer: Any, value: str) -> list[str]:
    """Why an input would not be what it should be once the protocols before it have run."""
    target = pointer.getObjValue()
    if target is None:
        return [f"{where}: {value} points to nothing"]
    name = pointer.getExtended()
    declared = target._possibleOutputs or {}  # noqa: SLF001
    outputs = {one.name: one.value for one in declared} if isinstance(declared, type) else dict(declared)
    if not outputs:
        return []
    if name not in outputs:
        return [f"{where}: {target.getClassName()} has no output {name}; it has {', '.join(outputs)}"]
    kind = outputs[name]
    kind = kind if isinstance(kind, type) else type(kind)
    given = param.pointerClass
    classes = given if isinstance(given, (list, tuple)) else str(given).split(",")
    accepted = [str(getattr(one, "__name__", one)).strip() for one in classes]
    if not any(base.__name__ in accepted for base in kind.__mro__):
        return [f"{where}: accepts {', '.join(accepted)}; {value} is {kind.__name__}"]
    return []


def _equal(found: Any, written: Any) -> bool:
    """Whether a value is the one that was written, as a number or as text."""
    try:
        return abs(float(found) - float(written)) <= 1e-6 * abs(float(written))
    except (TypeError, ValueError):
        return str(found) == str(written) or (found in (None, "") and written in (None, ""))


if __name__ == "__main__":
    main()
