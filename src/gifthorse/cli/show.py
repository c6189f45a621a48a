"""What is printed at the end of a run, and the exit code it ends with."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..core.vetting import Vetting

COLOURS = {"backdoor-found": typer.colors.RED, "inconclusive": typer.colors.YELLOW}
WORDS = {
    "backdoor-found": "BACKDOOR FOUND",
    "no-backdoor-found": "NO BACKDOOR FOUND",
    "inconclusive": "CANNOT TELL",
}
EXIT_CODES = {"no-backdoor-found": 0, "backdoor-found": 1, "inconclusive": 3}


def show(vetting: "Vetting", files: list[Path], *, title: str = "") -> int:
    """Print the verdict and where the files are; returns the exit code."""
    verdict = vetting.verdict
    words = typer.style(WORDS[verdict.outcome], fg=COLOURS.get(verdict.outcome), bold=True)
    chance = "" if math.isnan(verdict.p_value) else f"  (p = {verdict.p_value:.2g})"
    typer.echo(f"{title + ': ' if title else ''}{words}{chance}")
    typer.echo(f"  {verdict.reason}")
    for evidence in verdict.triggers:
        name = vetting.class_names[evidence.label] if evidence.label < len(vetting.class_names) else ""
        label = f"{evidence.label} ({name!r})" if name else str(evidence.label)
        typer.echo(f"  target: label {label}, p = {evidence.p_value:.2g}, trigger of {evidence.norm:.1f} pixels")
    if repaired := vetting.repaired:
        typer.echo(f"  repair: {'done' if repaired.accepted else 'FELL SHORT'}; {repaired.reason}")
        before, after = repaired.accuracy_before, repaired.accuracy_after
        typer.echo(f"    accuracy {before:.1%} → {after:.1%} on {repaired.held_out} held-out samples")
        for target, rate in repaired.flip_rate_before.items():
            typer.echo(f"    recovered trigger → {target}: {rate:.1%} → {repaired.flip_rate_after[target]:.1%}")
        if vetting.verdict_after:
            typer.echo(f"    examined again: {WORDS[vetting.verdict_after.outcome].lower()}")
    if vetting.guard_reason != "not asked for":
        typer.echo(f"  guard: {vetting.guard_reason}")
    for path in files:
        typer.echo(f"  wrote {path}")
    return EXIT_CODES[verdict.outcome]
