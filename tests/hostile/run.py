"""Runs ``opening.py`` over cases, goes on behind a file that ended it, and says of each how it ended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from families import Case

OPENING = Path(__file__).with_name("opening.py")


def endings(cases: list[Case], out: Path) -> dict[str, dict[str, Any]]:
    """By the name of the case: what ``opening.py`` says, or the signal that ended it.

    Args:
        cases: to open.
        out: a folder for what ``gifthorse verify`` writes, and an empty one to work in.
    """
    (out / "empty").mkdir(parents=True)
    waiting = [
        {
            "name": case.name,
            "path": str(case.path),
            "looked": str(case.looked),
            "sha256": case.sha256,
            "opens": case.family.opens,
            "out": str(out / "verified"),
        }
        for case in cases
    ]
    told: dict[str, dict[str, Any]] = {}
    while waiting:
        with (out / "said").open("w+") as said:
            ended = subprocess.run(
                [sys.executable, OPENING],
                input=json.dumps(waiting),
                stdout=said,
                stderr=subprocess.PIPE,
                text=True,
                cwd=out / "empty",
                check=False,
            )
            said.seek(0)
            lines = [json.loads(line) for line in said]
        told |= {line["name"]: line for line in lines if "name" in line}
        if ended.returncode == 0:
            break
        assert lines, ended.stderr
        last = lines[-1]["begins"]
        told[last] = {"name": last, "crashed": ended.returncode, "said": ended.stderr[-1500:]}
        waiting = waiting[[one["name"] for one in waiting].index(last) + 1 :]
    return told
