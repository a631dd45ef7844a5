"""The default workflow on small simulated sessions drawn at random: nothing fails for an internal reason.

Every session is another mixture: 0 to 40 gold beads inside the ice or on its surfaces, 5 to 61 tilts to 3 to
70 degrees, 1 to 20 frames, 256 to 1024 pixels (small ones more often) of 1 to 10 A, TIFF, MRC or EER, any
order of tilts, dark and shifted tilts. Each is simulated, processed and compared with its truth; a line a
session is added to the file of --results, and sessions that have one are left out: stop and go on at will.

    PYTHONPATH=tests python benchmarks/random_sessions.py --first 0 --sessions 25 --seconds 500
    PYTHONPATH=tests python benchmarks/random_sessions.py --summary

Verdicts (`tests/makers/random_session.py`): internal, silent, flagged, unfit, right. A session is *silent*
where poses are further from the truth than 3 pixels of alignment and three times what was reported, or a
defocus at the origin is off by more than 1000 A, or the thickness by more than 15 % and three times its
error, and nothing warns of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from makers.random_session import drawn_session, process_session


def summary(lines: list[dict[str, Any]]) -> None:
    """Counts over all lines, and every session that is internal or silent, or unfit though ordinary."""
    for line in sorted(lines, key=lambda one: one["session"]):
        verdict = line["verdict"]
        if verdict in ("internal", "silent") or (verdict == "unfit" and line["ordinary"]):
            print(_line(line) + "\n     " + "\n     ".join(line[verdict]))
    verdicts = Counter(line["verdict"] for line in lines)
    print(f"{len(lines)} sessions: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()))
    reasons = Counter(text.split("(")[0][:70] for line in lines for text in line.get("unfit", []))
    for reason, count in reasons.most_common():
        print(f"  {count:4d} {reason}")
    poses = [
        (x["pose_rms_angstrom"], x["pose_reported_angstrom"])
        for x in lines
        if x.get("pose_reported_angstrom")
    ]
    if poses:
        ratio = np.array([true / said for true, said in poses])
        print(
            f"  true over reported pose error: median {np.median(ratio):.1f}, "
            f"within it {np.mean(ratio < 1):.0%}"
        )
    tilts = [(x["tilts_within"], x["tilts_reported"]) for x in lines if x.get("tilts_reported")]
    if tilts:
        within, every = np.sum(tilts, axis=0)
        print(f"  tilts whose true pose error is within their reported one: {within / every:.0%} of {every}")
    by_method: dict[str, list[list[float]]] = {}
    for x in lines:
        by_method.setdefault(x.get("method", ""), []).extend(x.get("true_and_reported_angstrom", []))
    for method, pairs in by_method.items():
        if pairs:
            true, reported = np.array(pairs).T
            once, twice = (np.mean(true < factor * reported) for factor in (1, 2))
            print(f"    {method}: {once:.0%}, within twice {twice:.0%}, of {len(true)}")
    slabs = [
        (x["thickness_off_angstrom"], x["thickness_reported_angstrom"])
        for x in lines
        if x.get("thickness_reported_angstrom")
    ]
    if slabs:
        off, error = np.array(slabs, dtype=float).T
        print(
            f"  thickness: median error {np.median(np.abs(off)):.0f} A, reported {np.median(error):.0f} A, "
            f"within it {np.mean(np.abs(off) < error):.0%}"
        )


def _line(line: dict[str, Any]) -> str:
    """One session's verdict in a line."""
    poses = (
        f"poses {line['pose_rms_angstrom']} A ({line['pose_reported_angstrom']})" if "method" in line else ""
    )
    seconds = f"{line['simulated_s']:.0f} + {line['processed_s']:.0f} s"
    return f"{line['session']:4d} {line['verdict']:8s} {seconds:10s} {line['what']}; {poses}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sessions", type=int, default=200, help="how many from --first on")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after this time")
    parser.add_argument("--only", type=int, nargs="+", help="these sessions, also if they were done")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "random_sessions.jsonl")
    parser.add_argument("--keep", type=Path, help="keep the sessions' folders here")
    parser.add_argument("--summary", action="store_true", help="only read the results")
    arguments = parser.parse_args()
    lines = {}
    if arguments.results.is_file():
        read = [json.loads(text) for text in arguments.results.read_text(encoding="utf-8").splitlines()]
        lines = {line["session"]: line for line in read}  # the last one counts
    asked = arguments.only or range(arguments.first, arguments.first + arguments.sessions)
    begin = time.perf_counter()
    for i in () if arguments.summary else asked:
        if (i in lines and not arguments.only) or time.perf_counter() - begin > arguments.seconds:
            continue
        folder = Path(tempfile.mkdtemp(prefix="cryoloom-session-"))
        lines[i] = {"session": i} | process_session(drawn_session(i), folder)
        with arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(lines[i]) + "\n")
        print(_line(lines[i]), flush=True)
        if arguments.keep is None:
            shutil.rmtree(folder)
        else:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            shutil.move(folder, arguments.keep / f"{i:03d}")
    summary(list(lines.values()))


if __name__ == "__main__":
    main()
