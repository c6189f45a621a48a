"""Attacker against defender as a zero-sum game: what each setting gains, who wins where, and the equilibrium.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, whose outlook asks for it; von Neumann,
"Zur Theorie der Gesellschaftsspiele", Mathematische Annalen, 1928, for the mixed strategies.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from ..core.verdict import Outcome
from ..errors import DataError, GiftHorseError
from .run import Result

NOTICED = 0.05
"""Accuracy below the honest model's at which nobody would take the model, whatever else it does."""

DRAWS = 200
"""Games from which the interval of a value comes."""

Matrix = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Game:
    """What the attacker gains: ``matrix[attack, defence]``, from 0 to 2.

    Attributes:
        attacks: labels of the rows.
        defences: labels of the columns.
        methods: of each column, the name of its defence without settings.
        matrix: ``(attacks, defences)``.
    """

    attacks: tuple[str, ...]
    defences: tuple[str, ...]
    methods: tuple[str, ...]
    matrix: Matrix

    def of(self, method: str) -> "Game":
        """The game in which the defender has the settings of one method alone."""
        own = [place for place, name in enumerate(self.methods) if name == method]
        return Game(
            self.attacks, tuple(self.defences[place] for place in own), (method,) * len(own), self.matrix[:, own]
        )


@final
@dataclass(frozen=True)
class Equilibrium:
    """Neither side gains by playing otherwise.

    Attributes:
        value: what the attacker gains in the mean.
        attacker: how often each attack is played; adds up to 1.
        defender: how often each defence is.
        worst: what an attacker gains who knows which single defence is played, where that one is the best for it.
        best: that defence, by its place.
        answer: that attacker's attack, by its place.
    """

    value: float
    attacker: tuple[float, ...]
    defender: tuple[float, ...]
    worst: float
    best: int
    answer: int


def gain(row: Mapping[str, Any], twin: Mapping[str, Any]) -> float:
    """What the attacker gains from one cell: obedience, and the accuracy that the defence costs.

    Obedience is the success of the best trigger in what is deployed at last: nothing where a detector has spoken up
    and nobody repairs. The cost is the accuracy that the defence takes from the backdoored model or from the honest
    one, whichever is more; an honest model that is called backdoored and not repaired is lost as a whole. A backdoored
    model that is worse than its honest twin by more than ``NOTICED`` gains nothing.

    Args:
        row: finished, of the backdoored model.
        twin: finished, of the honest one.
    """
    backdoored, honest = row["measured"], twin["measured"]
    usual = honest["accuracy"]["before"]["rate"]
    own = backdoored["accuracy"]["before"]["rate"]
    if own < usual - NOTICED:
        return 0.0
    success = max((one["success"]["after"]["rate"] for one in backdoored["triggers"]), default=0.0)
    deployed = _deployed(backdoored)
    lost = own - backdoored["accuracy"]["after"]["rate"] if deployed else 0.0
    harm = usual - (honest["accuracy"]["after"]["rate"] if _deployed(honest) else 0.0)
    return float((success if deployed else 0.0) + max(0.0, lost, harm))


def _deployed(measured: Mapping[str, Any]) -> bool:
    found = measured["detection"] and measured["detection"]["outcome"] == Outcome.BACKDOOR_FOUND
    return not found or measured["repair"] is not None


def gains(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """What each attack gains against each defence, by their labels, in the mean over seeds.

    A defence that cannot be applied, diverges or fails leaves the model as it is; an attack that diverges gains
    nothing. What is not finished is left out.
    """
    bare = {result.entry.cell.recipe: result for result in results if result.entry.defence.name == "none"}
    found: dict[tuple[str, str], list[float]] = {}
    for result in results:
        played = next((one for one in (result, bare.get(result.entry.cell.recipe)) if one and _whole(one)), None)
        known = bare.get(result.entry.cell.recipe, result)
        if result.row is None or (played is None and (known.row is None or known.row["outcome"] == "done")):
            continue
        value = gain(played.row or {}, played.twin or {}) if played else 0.0
        found.setdefault((result.entry.attack.label, result.entry.defence.label), []).append(value)
    return {pair: fmean(values) for pair, values in found.items()}


def _whole(result: Result) -> bool:
    return all(row is not None and row["outcome"] == "done" for row in (result.row, result.twin))


def game_of(results: Sequence[Result]) -> Game:
    """The game between the attacks and the defences of a grid; those that only tune do not play.

    Raises:
        DataError: a cell is not finished.
    """
    judging = [result for result in results if not result.entry.tuning]
    values = gains(judging)
    attacks = tuple(dict.fromkeys(result.entry.attack.label for result in judging))
    methods = {result.entry.defence.label: result.entry.defence.name for result in judging}
    for result in judging:
        pair = result.entry.attack.label, result.entry.defence.label
        if result.row is None or pair not in values:
            raise DataError(f"{pair[0]} against {pair[1]} is not finished; run the grid to its end")
    matrix = np.array([[values[attack, defence] for defence in methods] for attack in attacks])
    return Game(attacks, tuple(methods), tuple(methods.values()), matrix)


def plausible(results: Sequence[Result], *, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals of the value of the game: for each defence by its name, and for all together by an empty one.

    From games in which seeds are drawn with replacement, and the success of each attack from what its images leave
    possible (Jeffreys' posterior); what accuracy loses is taken as it is.
    """
    random = np.random.default_rng(seed)
    judging = [result for result in results if not result.entry.tuning]
    seeds = sorted({result.entry.cell.recipe.seed for result in judging})
    values: dict[str, list[float]] = {}
    for _ in range(DRAWS):
        lot = Counter(random.choice(seeds, len(seeds)).tolist())
        drawn = {result.entry.cell.key: replace(result, row=_drawn(result.row, random)) for result in judging}
        twins = {result.entry.cell.twin.key: _drawn(result.twin, random) for result in judging}
        played = [
            replace(drawn[result.entry.cell.key], twin=twins[result.entry.cell.twin.key])
            for result in judging
            for _ in range(lot[result.entry.cell.recipe.seed])
        ]
        game = game_of(played)
        for name, part in [*((name, game.of(name)) for name in dict.fromkeys(game.methods)), ("", game)]:
            values.setdefault(name, []).append(equilibrium(part.matrix).value)
    return {
        name: (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) for name, found in values.items()
    }


def _drawn(row: Mapping[str, Any] | None, random: np.random.Generator) -> dict[str, Any] | None:
    """``row`` with success as it may be, given the images that it was measured on."""
    if row is None or row["outcome"] != "done":
        return row if row is None else dict(row)
    measured = row["measured"]
    triggers = []
    for one in measured["triggers"]:
        after = one["success"]["after"]
        hits = round(after["rate"] * after["of"])
        triggers.append({"success": {"after": {"rate": random.beta(hits + 0.5, after["of"] - hits + 0.5)}}})
    return {**row, "measured": {**measured, "triggers": triggers}}


def equilibrium(matrix: Matrix) -> Equilibrium:
    """Solve the game in which the rows want much and the columns little.

    Raises:
        DataError: the matrix has no rows or columns, or is not finite.
    """
    if matrix.ndim != 2 or 0 in matrix.shape or not np.isfinite(matrix).all():
        raise DataError(f"a game needs a finite matrix of attacks × defences, got one of shape {matrix.shape}")
    value, defender = _least(matrix)
    _, attacker = _least(-matrix.T)
    worst = matrix.max(0)
    best = int(worst.argmin())
    return Equilibrium(value, tuple(attacker), tuple(defender), float(worst[best]), best, int(matrix[:, best].argmax()))


def _least(matrix: Matrix) -> tuple[float, list[float]]:
    """The least that the columns can promise to lose, and the mix of columns that promises it."""
    rows, columns = matrix.shape
    # Of the mix y and the value v: v as small as can be, with matrix · y ≤ v in each row, y ≥ 0 and its sum 1.
    found = linprog(
        np.array([0.0] * columns + [1.0]),
        A_ub=np.hstack([matrix, -np.ones((rows, 1))]),
        b_ub=np.zeros(rows),
        A_eq=np.array([[1.0] * columns + [0.0]]),
        b_eq=np.array([1.0]),
        bounds=[(0, None)] * columns + [(None, None)],
    )
    if not found.success:
        raise GiftHorseError(f"the game could not be solved: {found.message}")
    return float(found.x[-1]), [float(share) for share in found.x[:-1]]
