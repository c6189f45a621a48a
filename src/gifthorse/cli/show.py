"""What is printed at the end of a run, and the exit code it ends with."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from . import exits

if TYPE_CHECKING:
    from ..provenance.examined import ExaminedRecord
    from ..report import ReportDocument
    from ..report.document import Repair

OTHER_FILE = {"GH101", "GH102"}
NOT_FINE = {"GH110", "GH111", "GH113", "GH114", "GH115", "GH116"}
"""Of GH116, what is on a part of the file: the whole was understood, as it was loaded."""
COLOURS = {"backdoor-found": typer.colors.RED, "inconclusive": typer.colors.YELLOW}


def show(document: "ReportDocument", files: list[Path]) -> int:
    """Print the verdict and where the files are; returns the exit code."""
    from ..report import words

    headline = typer.style(words.HEADLINES[document.outcome].upper(), fg=COLOURS.get(document.outcome), bold=True)
    model = document.model.path or (document.file.path if document.file else "a model in memory")
    typer.echo(f"{headline} in {model}  (p {words.probability(document.p_value)})")
    line("reason", document.reason)
    for target in document.targets:
        found = document.evidence(target)
        size, chance = words.pixels(found.norm), words.probability(found.p_value)
        line("target", f"label {_named(target, found.name)}, trigger of {size} pixels, p {chance}")
    if document.repair:
        _show_repair(document.repair)
    if document.guard.spec:
        line("guard", document.guard.reason)
    code = exits.OF_OUTCOME[document.outcome]
    if document.file:
        code = _show_file(document.file, code)
    if document.outcome == "no-backdoor-found":
        line("mind", "this does not say that the model is clean; the report lists what no scan can see")
    for path in files:
        line("wrote", str(path))
    return code


def line(what: str, text: str) -> None:
    """One fact, indented."""
    typer.echo(f"  {what:<11}{text}")


def _show_file(file: "ExaminedRecord", code: int) -> int:
    """What was found in the file, in a line each; the exit code, which is never 0 for a file that was exchanged."""
    for one in file.findings:
        if not one.leaves_open:
            line("file", f"{one.rule} {one.message}" + (f" (at {one.place})" if one.place else ""))
    if left := [one.name for one in file.findings if one.leaves_open]:
        line("file", f"open: {', '.join(dict.fromkeys(left))}; the report says what that means")
    rules = {one.rule for one in file.findings if one.rule != "GH116" or one.place}
    if code == 0 and rules & OTHER_FILE:
        line("", "no backdoor was found in this file, but it is not the one that was stated: cannot tell")
        return exits.OF_OUTCOME["inconclusive"]
    if code == 0 and rules & NOT_FINE:
        line("", "no backdoor was found, but something is in the file that weights have no need of: cannot tell")
        return exits.OF_OUTCOME["inconclusive"]
    return code


def _show_repair(repair: "Repair") -> None:
    from ..report import words

    after = repair.verdict_after
    cured = repair.accepted and not (after and after.outcome == "backdoor-found")
    line("repair", ("done: " if cured else "FELL SHORT: ") + repair.reason)
    accuracy = f"{words.percent(repair.accuracy_before)} → {words.percent(repair.accuracy_after)}"
    line("", f"accuracy {accuracy}, on {repair.held_out} samples put aside")
    for one in repair.targets:
        flips = f"{words.percent(one.flip_rate_before)} → {words.percent(one.flip_rate_after)}"
        line("", f"images that the recovered trigger turns to label {_named(one.label, one.name)}: {flips}")
    if after:
        line("", f"examined again: {words.HEADLINES[after.outcome].lower()}")


def _named(label: int, name: str) -> str:
    return str(label) if name == str(label) else f"{label} ({name})"
