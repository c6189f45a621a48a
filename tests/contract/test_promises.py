"""Every promise can be broken, and whoever breaks it is told, by that test and no other."""

import inspect
from pathlib import Path

import pytest

from gifthorse.contract import AttackContract, DetectorContract, FilterContract, RepairerContract
from gifthorse.errors import OptionError

from . import broken

pytest_plugins = ["pytester"]

TABLES = {
    AttackContract: broken.TestAttacks,
    DetectorContract: broken.TestDetectors,
    FilterContract: broken.TestFilters,
    RepairerContract: broken.TestRepairers,
}


def promises(contract: type) -> set[str]:
    return {name for name in dir(contract) if name.startswith("test_")}


def test_every_promise_is_said_broken_by_someone_and_kept_by_someone():
    of_all = set.intersection(*map(promises, TABLES))
    for contract, table in TABLES.items():
        assert all(inspect.getdoc(getattr(contract, name)) for name in promises(contract))
        own = promises(contract) if contract is DetectorContract else promises(contract) - of_all
        assert own <= {promise for method in table.methods for promise in method.breaks}
        assert any(not method.breaks for method in table.methods)


def where(report: pytest.TestReport) -> tuple[str, ...]:
    """The class, the promise and the method."""
    test, _, row = report.nodeid.rstrip("]").partition("[")
    _, table, promise = test.split("::")
    return table, promise, row.partition("-")[0]


def test_who_breaks_a_promise_is_told_by_its_test_and_no_other(pytester):
    run = pytester.inline_run("-p", "no:cacheprovider", "--tb=no", "-q", str(Path(broken.__file__)))
    reports = run.getreports("pytest_runtest_logreport")
    expected = {
        (table.__name__, promise, method.name)
        for table in TABLES.values()
        for method in table.methods
        for promise in method.breaks
    }
    expected.add((broken.TestExemptForNothing.__name__, broken.SEEN, broken.Pretends.name))
    assert {where(one) for one in reports if one.failed} == expected
    exempt = {where(one): one.wasxfail for one in reports if hasattr(one, "wasxfail")}
    assert exempt == {(broken.TestExempt.__name__, broken.SEEN, broken.DoesNothing.name): "it does nothing"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"methods": (broken.Looks,)}, "which is no instance of Detector"),
        ({"methods": (broken.Copies(),)}, "which is no instance of Detector"),
        ({"exempt": {"test_nothing": "because"}}, "'test_nothing'; the promises are .*test_there_is_a_p_value"),
        ({"exempt": {"work": "because"}}, "'work'; the promises are"),
        ({"exempt": {broken.P_VALUE: ""}}, "say why test_there_is_a_p_value does not hold"),
    ],
)
def test_a_slip_of_the_pen_is_an_error(body, message):
    with pytest.raises(OptionError, match=message):
        type("TestMine", (DetectorContract,), body)


def test_a_table_without_methods_is_an_error(pytester):
    pytester.makepyfile(
        """
        from gifthorse.contract import DetectorContract

        class TestMine(DetectorContract):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*OptionError: TestMine tests nothing; name methods in it*"])
    assert result.ret != 0


def test_names_tell_settings_apart(pytester):
    pytester.makepyfile(
        """
        from gifthorse.contract import FilterContract
        from gifthorse.guard.strip import Strip

        class TestMine(FilterContract):
            methods = (Strip(), Strip(overlays=4))
        """
    )
    result = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider")
    ids = {line.partition("[")[2] for line in result.outlines if "same_seed" in line}
    assert ids == {"strip]", "strip-2]"}
