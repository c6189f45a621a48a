"""Numbers and outcomes as people read them; percent exists only here."""

from ..core.verdict import Outcome

HEADLINES = {
    Outcome.BACKDOOR_FOUND: "Backdoor found",
    Outcome.NO_BACKDOOR_FOUND: "No backdoor found",
    Outcome.INCONCLUSIVE: "Cannot tell",
}
UNKNOWN = "–"


def percent(rate: float | None) -> str:
    """``0.9785`` as ``97.9 %``; never rounded up to 100 % or down to 0 %."""
    if rate is None:
        return UNKNOWN
    text = f"{rate * 100:.1f}"
    if text in {"100.0", "0.0"}:
        text = {0.0: "0", 1.0: "100"}.get(rate, "99.9" if rate > 0.5 else "< 0.1")
    return f"{text}\N{NO-BREAK SPACE}%"


def interval(bounds: tuple[float, float]) -> str:
    """``(0.9, 0.985)`` as ``90.0–98.5 %``."""
    return f"{bounds[0] * 100:.1f}–{bounds[1] * 100:.1f}\N{NO-BREAK SPACE}%"


def pixels(norm: float | None) -> str:
    """A trigger's size with as many digits as mean something."""
    return UNKNOWN if norm is None else f"{norm:,.1f}" if norm >= 0.05 else f"{norm:.1g}"


def number(value: object) -> str:
    """Any JSON value in a few characters."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def probability(value: float | None) -> str:
    """A p-value as it follows the letter p: ``= 0.013``, ``< 0.0001``."""
    if value is None:
        return UNKNOWN
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}"


def p_value(value: float | None) -> str:
    """A p-value in a column of its own: ``0.013``, ``< 0.0001``."""
    return probability(value).removeprefix("= ")


def short(value: float | None) -> str:
    """A score with three digits."""
    return UNKNOWN if value is None else f"{value:.3g}"


def duration(seconds: float) -> str:
    """``75`` as ``1 min 15 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def bytes_of(size: int | None) -> str:
    """``1500000`` as ``1.5 MB``."""
    if size is None:
        return UNKNOWN
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def plain(key: str) -> str:
    """``false_rejection_rate`` as ``false rejection rate``."""
    return key.replace("_", " ")
