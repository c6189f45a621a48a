"""Tables of rows that were made by hand."""

import pytest

from gifthorse.bench import tables
from gifthorse.bench.grid import Grid
from gifthorse.bench.intervals import of_rate
from gifthorse.bench.render import Value
from gifthorse.metrics import clopper_pearson

from .rows import result, row, share


def column(table, heading):
    place = table.headings.index(heading)
    return [line[place] for line in table.rows]


@pytest.fixture(scope="module")
def two_seeds():
    made = []
    for seed, (success, rejected, found) in enumerate([(0.9, 0.02, True), (0.7, 0.06, False)]):
        made += [
            result("pn", "none", row(), seed=seed),
            result("pn", "strip", row(success=success, rejected=rejected), seed=seed,
                   twin=row(triggers=0, rejected=0.04)),
            result("pn", "neural-cleanse", row(found=found, p_value=0.001 if found else 0.4), seed=seed,
                   twin=row(triggers=0, found=False, p_value=0.2)),
        ]  # fmt: skip
    return made


def test_rates_are_pooled_over_seeds_with_their_interval(two_seeds):
    table = tables.cells_table(two_seeds)
    assert [value.text for value in column(table, "defence")] == ["none", "strip", "neural-cleanse"]
    obeyed = column(table, "ASR")[1]
    assert obeyed.number == 0.8
    assert obeyed.interval == of_rate([90, 70], [100, 100])
    assert column(table, "ASR before")[1].interval == clopper_pearson(200, 200)
    assert obeyed.text.replace("\xa0", " ").startswith("80.0 % (")
    assert column(table, "FRR")[1].number == 0.04
    assert column(table, "FAR")[1].number == 0.4
    assert column(table, "AUROC")[1].text == "0.800 (0.700–0.900)"
    assert column(table, "CA")[0].number == 0.95
    assert column(table, "memory")[0].text == "1.0 GB"


def test_models_are_counted_and_twins_too(two_seeds):
    table = tables.cells_table(two_seeds)
    assert column(table, "detected")[2].text.startswith("1 of 2 (")
    assert column(table, "named")[2].text.startswith("1 of 2 (")
    assert column(table, "false alarms")[2].text.startswith("0 of 2 (0.0–84.2")
    assert column(table, "detected")[0] == Value()
    assert column(table, "runs")[0].text == "2 of 2"


def test_one_twin_of_two_attacks_counts_once():
    rows = [result(name, "neural-cleanse", row(found=True), twin=row(triggers=0, found=True)) for name in ("a", "b")]
    table = tables.defences_table(rows)
    assert column(table, "detected")[0].text.startswith("2 of 2")
    assert column(table, "false alarms")[0].text.startswith("1 of 1")


def test_the_worst_attack_is_named():
    rows = [result("mild", "none", row(success=0.2)), result("bad", "none", row(success=0.6))]
    table = tables.defences_table(rows)
    assert [column(table, name)[0].text for name in ("worst against",)] == ["bad"]
    assert column(table, "worst ASR")[0].number == 0.6
    assert column(table, "mean ASR")[0].number == 0.4


def test_each_trigger_counts_alike_in_a_mean():
    small, large = row(success=1.0), row(success=0.0)
    large["measured"]["triggers"][0]["success"]["after"] = share(0.0, of=900)
    table = tables.defences_table([result("a", "none", small), result("b", "none", large)])
    assert column(table, "mean ASR")[0].number == 0.5
    assert column(table, "mean ASR")[0].interval == (0.0, 1.0)  # two that differ so tell nothing of others


def test_how_suspicious_models_look(two_seeds):
    table = tables.defences_table(two_seeds)
    # Backdoored p: 0.001 and 0.4; the twin's, which is one of two seeds each: 0.2. Half of the pairs are in order.
    assert column(table, "AUROC of models")[2].number == 0.5


def test_every_trigger_has_a_row():
    table = tables.cells_table([result("a", "none", row(triggers=3))])
    assert [value.text for value in column(table, "trigger")] == ["1 patch", "2 patch", "3 patch"]


def test_what_ended_otherwise_is_said():
    lost = row() | {"outcome": "diverged", "measured": {}, "cost": {}}
    rows = [result("a", "none", row()), result("a", "none", lost, seed=1), result("a", "none", None, seed=2)]
    (line,) = tables.cells_table(rows).rows
    assert line[3].text == "1 of 3, 1 diverged, 1 not finished"
    assert [table.title for table in tables.tables_of(rows)] == ["Attacks and defences", "Defences"]


def test_table_3_stands_beside_the_papers_numbers(two_seeds):
    table = tables.table_3([*two_seeds, result("aaa", "none", row()), result("mine", "none", row())])
    assert [value.text for value in column(table, "BadNet")] == ["aaa", "pn", "pn", "pn"]
    assert [value.text for value in column(table, "paper")] == [
        "97.76 / 95.91", "95.46 / 99.82", "100", "95.24 / 12.39",
    ]  # fmt: skip
    assert set(tables.PAPER) == set(tables.nine.NINE)


def test_settings_are_chosen_on_other_attacks_than_they_are_judged_by():
    rows = []
    for label, tuned, judged in (("strip (1)", 0.5, 0.1), ("strip (2)", 0.2, 0.6)):
        rows += [
            result("tune", "strip", row(success=tuned), label=label, tuning=True, seed=100),
            result("judge", "strip", row(success=judged), label=label),
        ]
    rows += [result("tune", "none", row(), tuning=True, seed=100), result("judge", "none", row())]
    shown = tables.judged(rows)
    assert {(one.entry.attack.label, one.entry.defence.label) for one in shown} == {
        ("judge", "none"),
        ("judge", "strip (2)"),  # the better on the other attack, though the worse on this one
    }
    assert tables.chosen_on(rows) == "The setting of each defence was chosen on tune, which do not judge."
    judging = [one for one in rows if not one.entry.tuning]
    assert tables.judged(judging) == judging
    assert tables.chosen_on(judging).startswith("No attack was set aside for tuning")
    assert tables.chosen_on(judging[:1]).startswith("Each defence has the one setting")


def test_what_a_filter_lets_pass_at_each_rate(two_seeds):
    (line,) = tables.curves_table(two_seeds).rows
    assert [value.text for value in line[:3]] == ["pn", "1 patch", "strip"]
    assert [value.number for value in line[3:]] == pytest.approx(
        [0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.8, 0.5], abs=0.01
    )
    assert line[-1].interval == clopper_pearson(100, 200)


def test_the_game_has_a_row_for_each_defence(two_seeds):
    made = tables.tables_of(two_seeds)
    game = made[-1]
    assert game.title == "Attacker against defender"
    assert [value.text for value in column(game, "defence")] == ["none", "strip", "neural-cleanse", "all of them"]
    assert column(game, "value")[1].number == pytest.approx(0.8)


def test_all_files_are_written(two_seeds, tmp_path):
    files = tables.write_tables(Grid("try", tuple(one.entry for one in two_seeds)), two_seeds, tmp_path)
    assert sorted(path.name for path in files) == [
        "attacker-against-defender.csv",
        "attacks-and-defences.csv",
        "curves-of-filters.csv",
        "defences.csv",
        "heat-map.svg",
        "table-3-of-veldanda-and-garg.csv",
        "tables.html",
        "tables.md",
        "tables.tex",
    ]
    assert " Made by: abc, torch 2, Linux x86_64, cpu." in (tmp_path / "tables.md").read_text()
    assert "<svg" in (tmp_path / "tables.html").read_text()
