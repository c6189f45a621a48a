"""What a grid has measured, as tables.

Rates are pooled over seeds; their 95 % intervals know that images of one model are alike (``intervals``), and are
Clopper and Pearson's where models are counted. Honest twins stand in every table. Where some attacks are for tuning,
each defence is shown with the setting that was best on them, and on the others alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..core.verdict import Outcome
from ..errors import DataError
from ..files import whole_file
from ..redteam import nine
from ..report import words
from ..report.plot import for_page
from . import intervals
from .game import Game, equilibrium, gains, game_of, plausible
from .grid import Grid
from .heatmap import heatmap_svg
from .measure import RATES, auroc
from .render import Table, Value, to_csv, to_html, to_latex, to_markdown
from .run import Result

NOTHING = "none"

PAPER: dict[str, dict[str, str]] = {
    name: dict(zip(("none", "fine-pruning", "neural-cleanse", "strip"), numbers, strict=True))
    for name, numbers in {
        "aaa": ("97.76 / 95.91", "97.6 / 57.35", "fails", "99.22"),
        "cla": ("89.02 / 100", "99.13 / 14.68", "97.74 / 4.77 †", "43.45"),
        "tca": ("87.71 / 99.9", "88.26 / 99.62", "88.59 / 99.82 †", "22.22"),
        "pn": ("95.46 / 99.82", "94.58 / 99.69", "95.24 / 12.39", "100"),
        "fsa": ("95.08 / 90.06", "95.37 / 45.5", "95.8 / 28.99", "99.95"),
        "sg": ("97.89 / 99.98", "97.18 / 95.97", "95.74 / 38.09 †", "10.34"),
        "ls": ("97.19 / 91.51", "97.86 / 90.53", "97.14 / 28.44 †", "18.42"),
        "mtsta": (
            "95.84 / 92.22, 92.24, 100",
            "97.31 / 45.04, 64.71, 94.94",
            "93.37 / 0, 0, 8.67 †",
            "11.79, 63.73, 5.84",
        ),
        "mtmta": (
            "95.93 / 91.51, 91.39, 100",
            "96.91 / 52.36, 82.34, 0",
            "94.18 / 30.79, 0, 95.68 †",
            "15.90, 53.64, 15.58",
        ),
    }.items()
}
"""Table 3 of Veldanda and Garg (2020), in percent: CA / ASR of each trigger; of STRIP, the FAR at an FRR of 3 %."""
PAPERS_NOTE = (
    "The paper's numbers, in percent, are CA / ASR, one for each trigger; beside a filter, STRIP's FAR at an FRR of "
    "3 %. † with knowledge that a defender does not have."
)


def tables_of(results: Sequence[Result]) -> list[Table]:
    """Every table that ``results`` of a grid can fill."""
    shown = judged(results)
    made = [cells_table(shown), defences_table(shown)]
    if any(result.entry.attack.name in PAPER for result in shown):
        made.insert(0, table_3(shown))
    made.append(curves_table(shown))
    if game := game_between(shown):
        made.append(game_table(game, plausible(shown)))
    return [table.filled() for table in made if table.rows]


def judged(results: Sequence[Result]) -> list[Result]:
    """The attacks that judge; where others tune, against each defence in the setting that was best on those."""
    tuning = [result for result in results if result.entry.tuning]
    if not tuning:
        return list(results)
    found: dict[str, dict[str, list[float]]] = {}
    names = {result.entry.defence.label: result.entry.defence.name for result in tuning}
    for (_, label), value in gains(tuning).items():
        found.setdefault(names[label], {}).setdefault(label, []).append(value)
    best = {name: min(settings, key=lambda label: fmean(settings[label])) for name, settings in found.items()}
    return [
        result
        for result in results
        if not result.entry.tuning and best.get(result.entry.defence.name) == result.entry.defence.label
    ]


def cells_table(results: Sequence[Result]) -> Table:
    """A row for each attack, each of its triggers, and each defence."""
    columns = (
        "attack", "trigger", "defence", "runs", "took", "CA", "CA before", "ASR", "ASR before", "robust accuracy",
        "twin's CA", "twin's CA before", "ASR on the twin", "FRR", "twin's FRR", "FAR", "AUROC", "detected",
        "false alarms", "named", "IoU", "seconds", "image-gradients", "memory",
    )  # fmt: skip
    rows = []
    for (attack, defence), group in _grouped(results).items():
        done = [result.row for result in group if result.row and result.row["outcome"] == "done"]
        measured = [row["measured"] for row in done]
        twins = [one["measured"] for one in _twins(group)]
        costs = [row["cost"] for row in done]
        for trigger in range(max((len(one["triggers"]) for one in measured), default=1)):
            own = [one["triggers"][trigger] for one in measured if trigger < len(one["triggers"])]
            rows.append((
                Value(attack), Value(_trigger_name(own, trigger)), Value(defence), _runs(group),
                counted(one["took"] for one in measured),
                pooled(one["accuracy"]["after"] for one in measured),
                pooled(one["accuracy"]["before"] for one in measured),
                pooled(one["success"]["after"] for one in own),
                pooled(one["success"]["before"] for one in own),
                pooled(one["robust"]["after"] for one in own),
                pooled(one["accuracy"]["after"] for one in twins),
                pooled(one["accuracy"]["before"] for one in twins),
                pooled(one["success"]["twin"] for one in own),
                pooled(one["guard"]["rejected"] for one in measured if one["guard"]),
                pooled(one["guard"]["rejected"] for one in twins if one["guard"]),
                pooled(one["accepted"] for one in own if "accepted" in one),
                _area([one["auroc"] for one in own if "auroc" in one]),
                counted(_found(one) for one in measured if one["detection"]),
                counted(_found(one) for one in twins if one["detection"]),
                counted(one["detection"]["named"] for one in measured if one["detection"]),
                _mean([over["iou"] for one in measured if one["detection"] for over in one["detection"]["overlaps"]]),
                _mean([cost["seconds"] for cost in costs]),
                _mean([cost["image_gradients"] for cost in costs if cost.get("image_gradients")]),
                _memory([cost["peak_memory"] for cost in costs if cost.get("peak_memory")]),
            ))  # fmt: skip
    return Table("Attacks and defences", CELLS_NOTE, columns, tuple(rows))


CELLS_NOTE = (
    "CA: clean test images that are answered rightly, and not rejected. ASR: images with the trigger that obey the "
    "attacker, and are not rejected. Robust accuracy: those that get their true label back. Twin: the honest model of "
    "the same recipe under the same defence. FRR, FAR: clean images that the filter rejects, triggered ones that it "
    "accepts. Detected, false alarms: backdoored models and twins that are called backdoored. Named: the labels that "
    "the detector names are the attacker's. IoU: of the recovered trigger's mask and the attacker's. Took: the attack "
    "did what it should before any defence. Intervals are 95 %: Korn and Graubard's, which know that the images of "
    "one model are alike, so that a few seeds that differ make them wide; Clopper and Pearson's where models are "
    "counted; of means (AUROC, changes) Student's over the models, or the images' where that is wider."
)


def defences_table(results: Sequence[Result]) -> Table:
    """A row for each defence over all attacks; each honest model counts once."""
    columns = (
        "defence", "runs", "CA change", "twins' CA change", "mean ASR", "worst ASR", "worst against", "robust accuracy",
        "detected",
        "false alarms", "AUROC of models", "named", "FRR of twins", "highest FAR",
    )  # fmt: skip
    rows = []
    labels = dict.fromkeys(result.entry.defence.label for result in results)
    for label in labels:
        group = [result for result in results if result.entry.defence.label == label]
        done = [(result, result.row["measured"]) for result in group if result.row and result.row["outcome"] == "done"]
        measured, twins = [one for _, one in done], [one["measured"] for one in _twins(group)]
        triggers: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for result, about in done:
            for place, one in enumerate(about["triggers"]):
                triggers.setdefault((result.entry.attack.label, place), []).append(one)
        obeyed = {pair: pooled(one["success"]["after"] for one in own) for pair, own in triggers.items()}
        passed = {pair: pooled(one["accepted"] for one in own if "accepted" in one) for pair, own in triggers.items()}
        worst = max(obeyed, key=lambda pair: obeyed[pair].number or 0.0, default=None)
        every = [one for own in triggers.values() for one in own]
        rows.append((
            Value(label), _runs(group), _change(measured), _change(twins),
            averaged(one["success"]["after"] for one in every),
            obeyed[worst] if worst else Value(), Value(worst[0]) if worst else Value(),
            averaged(one["robust"]["after"] for one in every),
            counted(_found(one) for one in measured if one["detection"]),
            counted(_found(one) for one in twins if one["detection"]),
            _models_area(measured, twins),
            counted(one["detection"]["named"] for one in measured if one["detection"]),
            averaged(one["guard"]["rejected"] for one in twins if one["guard"]),
            max(passed.values(), key=lambda value: value.number or 0.0, default=Value()),
        ))  # fmt: skip
    note = (
        "Means over all attacks, triggers and seeds, whatever the number of images; each honest model counts once. "
        "AUROC of models: how often a backdoored model looks more suspicious to the detector than an honest one. "
        "Changes are in points, against the same model without the defence."
    )
    return Table("Defences", note, columns, tuple(rows))


def table_3(results: Sequence[Result]) -> Table:
    """The nine BadNets beside the numbers of the paper's Table 3."""
    columns = ("BadNet", "defence", "CA", "ASR", "FAR", "FRR", "detected", "twin's CA", "false alarms", "paper")
    rows = []
    order = list(nine.NINE)
    groups = {pair: group for pair, group in _grouped(results).items() if group[0].entry.attack.name in PAPER}
    for (attack, defence), group in sorted(groups.items(), key=lambda one: order.index(one[1][0].entry.attack.name)):
        entry = group[0].entry
        measured = [result.row["measured"] for result in group if result.row and result.row["outcome"] == "done"]
        twins = [one["measured"] for one in _twins(group)]
        count = max((len(one["triggers"]) for one in measured), default=0)
        own = [[one["triggers"][place] for one in measured] for place in range(count)]
        first = next(iter(entry.cell.defence.steps.values()), None)
        name = first.name.removesuffix("-2019") if first else NOTHING
        rows.append((
            Value(attack), Value(defence),
            pooled(one["accuracy"]["after"] for one in measured),
            _joined([pooled(one["success"]["after"] for one in each) for each in own]),
            _joined([pooled(one["accepted"] for one in each if "accepted" in one) for each in own]),
            pooled(one["guard"]["rejected"] for one in measured if one["guard"]),
            counted(_found(one) for one in measured if one["detection"]),
            pooled(one["accuracy"]["after"] for one in twins),
            counted(_found(one) for one in twins if one["detection"]),
            Value(PAPER[entry.attack.name].get(name, words.UNKNOWN)),
        ))  # fmt: skip
    return Table("Table 3 of Veldanda and Garg", f"{PAPERS_NOTE} {CELLS_NOTE}", columns, tuple(rows))


def curves_table(results: Sequence[Result]) -> Table:
    """What each filter lets pass at each false rejection rate, by the scores of the images that judge."""
    columns = ("attack", "trigger", "defence", *(f"FAR at FRR {words.percent(rate)}" for rate in RATES))
    rows = []
    for (attack, defence), group in _grouped(results).items():
        measured = [result.row["measured"] for result in group if result.row and result.row["outcome"] == "done"]
        for trigger in range(max((len(one["triggers"]) for one in measured if one["guard"]), default=0)):
            own = [one["triggers"][trigger] for one in measured]
            points = [
                pooled({"rate": one["curve"][place][1], "of": one["accepted"]["of"]} for one in own)
                for place in range(len(RATES))
            ]
            rows.append((Value(attack), Value(_trigger_name(own, trigger)), Value(defence), *points))
    note = "The threshold is set on the test images themselves, so this is what a score can do, not what a filter did."
    return Table("Curves of filters", note, columns, tuple(rows))


def game_between(results: Sequence[Result]) -> Game | None:
    """The game, once every cell of it is finished."""
    try:
        return game_of(results)
    except DataError:
        return None


def game_table(game: Game, bounds: Mapping[str, tuple[float, float]]) -> Table:
    """The equilibrium between all attacks and the settings of each defence, and of all of them together."""
    columns = ("defence", "value", "played", "attacks played", "worst case", "best setting", "best attack against it")
    note = (
        "What the attacker gains: the success of the best trigger in what is deployed, and the accuracy that the "
        "defence costs the backdoored model or the honest one, whichever is more. Value: of the zero-sum game, both "
        "sides mixing; its interval is of games with seeds and successes as they may be. Worst case: the defender "
        "plays the best single setting, and the attacker knows it. Means over seeds."
    )
    rows = []
    methods = dict.fromkeys(game.methods)
    for title, part in [*((name, game.of(name)) for name in methods), ("all of them", game)]:
        found = equilibrium(part.matrix)
        low, high = bounds[title if part is not game else ""]
        low, high = min(low, found.value), max(high, found.value)  # the best of many draws is better than it should be
        value = Value(f"{_plain(found.value).text} ({low:.3f}–{high:.3f})", found.value, (low, high))
        rows.append((
            Value(title), value, Value(_mix(part.defences, found.defender)),
            Value(_mix(part.attacks, found.attacker)), _plain(found.worst), Value(part.defences[found.best]),
            Value(part.attacks[found.answer]),
        ))  # fmt: skip
    return Table("Attacker against defender", note, columns, tuple(rows))


def pooled(shares: Iterable[Mapping[str, Any]]) -> Value:
    """Shares of images over seeds as one, with its interval."""
    taken = list(shares)
    return _share([round(one["rate"] * one["of"]) for one in taken], [one["of"] for one in taken])


def averaged(shares: Iterable[Mapping[str, Any]]) -> Value:
    """The mean of shares, each of which counts alike, however many images it is of."""
    taken = list(shares)
    if not taken:
        return Value()
    rates = [one["rate"] for one in taken]
    low, high = intervals.of_mean(rates, [one["interval"] for one in taken])
    bounds = max(0.0, low), min(1.0, high)
    return Value(f"{words.percent(fmean(rates))} ({words.interval(bounds)})", fmean(rates), bounds)


def counted(hits: Iterable[bool]) -> Value:
    """How many models of how many."""
    taken = list(hits)
    value = _share([sum(taken)], [len(taken)])
    return (
        Value(f"{sum(taken)} of {len(taken)}{value.text[value.text.index(' (') :]}", value.number, value.interval)
        if taken
        else value
    )


def _share(hits: Sequence[int], sizes: Sequence[int]) -> Value:
    if sum(sizes) == 0:
        return Value()
    rate, bounds = sum(hits) / sum(sizes), intervals.of_rate(hits, sizes)
    return Value(f"{words.percent(rate)} ({words.interval(bounds)})", rate, bounds)


def _grouped(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.entry.attack.label, result.entry.defence.label), []).append(result)
    return groups


def _twins(group: Sequence[Result]) -> list[dict[str, Any]]:
    """The finished rows of honest models, each once."""
    rows = {result.entry.cell.twin.key: result.twin for result in group}
    return [row for row in rows.values() if row is not None and row["outcome"] == "done"]


def _runs(group: Sequence[Result]) -> Value:
    """How many are done, and what became of the others."""
    ends = Counter(result.row["outcome"] if result.row else "not finished" for result in group)
    others = [f"{count} {outcome}" for outcome, count in ends.items() if outcome != "done"]
    return Value(", ".join([f"{ends['done']} of {len(group)}", *others]), ends["done"] / len(group))


def _found(measured: Mapping[str, Any]) -> bool:
    return bool(measured["detection"]["outcome"] == Outcome.BACKDOOR_FOUND)


def _trigger_name(own: Sequence[Mapping[str, Any]], number: int) -> str:
    planned = own[0]["trigger"] if own else None
    return f"{number + 1} {planned['name']}" if planned else str(number + 1)


def _mean(numbers: Sequence[float]) -> Value:
    return Value(words.short(fmean(numbers)), fmean(numbers)) if numbers else Value()


def _memory(sizes: Sequence[int]) -> Value:
    return Value(words.bytes_of(max(sizes)), float(max(sizes))) if sizes else Value()


def _plain(number: float) -> Value:
    return Value(f"{round(number, 3) + 0.0:.3f}", number)  # not -0.000


def _area(areas: Sequence[Mapping[str, Any]]) -> Value:
    if not areas:
        return Value()
    values = [one["area"] for one in areas]
    low, high = intervals.of_mean(values, [one["interval"] for one in areas])
    low, high = max(0.0, low), min(1.0, high)
    return Value(f"{fmean(values):.3f} ({low:.3f}–{high:.3f})", fmean(values), (low, high))


def _models_area(measured: Sequence[Mapping[str, Any]], twins: Sequence[Mapping[str, Any]]) -> Value:
    """Of the detector's scores: a p-value where it has one, else the anomaly index."""
    both = [
        [_suspicion(one["detection"]) for one in group if one["detection"] and _suspicion(one["detection"]) is not None]
        for group in (measured, twins)
    ]
    if not all(both):
        return Value()
    return _area([auroc(*(torch.tensor(scores, dtype=torch.float64) for scores in both))])


def _suspicion(detection: Mapping[str, Any]) -> float | None:
    by_chance: float | None = detection["p_value"]
    by_size: float | None = detection["score"]
    return by_size if by_chance is None else -by_chance


def _change(measured: Sequence[Mapping[str, Any]]) -> Value:
    """The mean over models."""
    if not measured:
        return Value()
    changes = [one["accuracy"]["change"] for one in measured]
    mean, (low, high) = (
        fmean(changes),
        intervals.of_mean(changes, [one["accuracy"]["change_interval"] for one in measured]),
    )
    return Value(f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})", mean, (low, high))


def _joined(values: Sequence[Value]) -> Value:
    """Of several triggers; what sorts is the greatest."""
    known = [value for value in values if value.number is not None]
    if not known:
        return Value()
    most = max(known, key=lambda value: value.number or 0.0)
    return Value(", ".join(value.text for value in known), most.number, most.interval)


def _mix(labels: Sequence[str], shares: Sequence[float]) -> str:
    played = [(share, label) for share, label in zip(shares, labels, strict=True) if share > 0.0005]
    return ", ".join(f"{label} {words.percent(share)}" for share, label in sorted(played, reverse=True))


def chosen_on(results: Sequence[Result]) -> str:
    """One sentence: what the settings of the defences were chosen on."""
    tuning = dict.fromkeys(result.entry.attack.label for result in results if result.entry.tuning)
    if tuning:
        return f"The setting of each defence was chosen on {', '.join(tuning)}, which do not judge."
    settings: dict[str, set[str]] = {}
    for result in results:
        settings.setdefault(result.entry.defence.name, set()).add(result.entry.defence.label)
    if max(map(len, settings.values()), default=1) == 1:
        return "Each defence has the one setting that the grid gives it; nothing was chosen on these attacks."
    return "No attack was set aside for tuning: who picks the best setting here has picked it by what judges it."


def sources(results: Sequence[Result]) -> str:
    """One sentence: which code and which machines the finished rows come from."""
    rows = [row for result in results for row in (result.row, result.twin) if row is not None]
    states = {
        f"{facts['git'] or 'unknown'}{' (changed)' if facts['changed'] else ''}, torch {facts['versions']['torch']}, "
        f"{facts['machine']['system']} {facts['machine']['processor']}, {facts['machine']['device']}"
        for facts in (row["provenance"] for row in rows)
    }
    many = (
        f"Mind that the rows come from {len(states)} states of the code or machines" if len(states) > 1 else "Made by"
    )
    return f"{many}: {'; '.join(sorted(states)) or 'nothing yet'}."


def write_tables(grid: Grid, results: Sequence[Result], out: Path) -> list[Path]:
    """Write the tables as Markdown, LaTeX, a page and a CSV each, and ``heat-map.svg`` where all is finished."""
    tables, origin = tables_of(results), f"{chosen_on(results)} {sources(results)}"
    game = game_between(judged(results))
    picture = heatmap_svg(game) if game else ""
    files = {
        "tables.html": to_html(grid.name, tables, [for_page(picture)] if picture else [], origin),
        "tables.md": to_markdown(grid.name, tables, origin),
        "tables.tex": to_latex(grid.name, tables),
    }
    files |= {"heat-map.svg": picture} if picture else {}
    files |= {f"{table.title.lower().replace(' ', '-')}.csv": to_csv(table) for table in tables}
    for name, text in files.items():
        with whole_file(out / name) as unfinished:
            unfinished.write_text(text, "utf-8")
    return [out / name for name in files]
