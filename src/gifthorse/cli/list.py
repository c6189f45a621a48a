"""``gifthorse list``: every method that there is, ours and those of other packages."""

from collections.abc import Mapping
from typing import Any

import typer

from ..errors import OptionError
from . import exits


def list_methods() -> int:
    """List attacks, triggers, label maps, detectors, repairers and filters, with those of other packages.

    [green]$ gifthorse list[/]

    A package offers its own by entry points, in the groups gifthorse.attacks, gifthorse.detectors,
    gifthorse.repairers and gifthorse.filters. They are listed with the package that they come from, and are given
    wherever one of ours is: gifthorse scan --detector, or in a grid of gifthorse bench.

    Exit codes: 0 all work · 4 one of another package's is broken; the others work.
    """
    from ..attacks import ATTACKS
    from ..attacks.label_maps import LABEL_MAPS
    from ..detect import DETECTORS
    from ..guard import FILTERS
    from ..repair import REPAIRERS
    from ..triggers import TRIGGERS

    broken = False
    kinds: dict[str, Mapping[str, type[Any]]] = {
        "Attacks": ATTACKS,
        "Triggers": TRIGGERS,
        "Label maps": LABEL_MAPS,
        "Detectors": DETECTORS,
        "Repairers": REPAIRERS,
        "Filters": FILTERS,
    }
    width = max(len(name) for registry in kinds.values() for name in registry) + 2
    for title, registry in kinds.items():
        typer.echo(title)
        for name in registry:
            try:
                said = (registry[name].__doc__ or "").strip().partition("\n")[0].replace("``", "")
            except OptionError as error:
                said, broken = f"BROKEN: {error}", True
            origin = getattr(registry, "origin", lambda name: "")(name)
            typer.echo(f"  {name:<{width}}{said}{f' ({origin})' if origin else ''}")
    return exits.FAILED if broken else 0
