"""The contract as a plug-in of pytest: ``pytest --gifthorse my-detector`` holds that method to every promise.

It is imported whenever pytest starts where gifthorse is installed, and imports nothing heavy unless it is asked.
"""

from types import ModuleType

import pytest

NODE = "gifthorse-contract"  # where a test's file stands in reports


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--gifthorse``."""
    parser.getgroup("gifthorse", "Gift Horse").addoption(
        "--gifthorse",
        action="append",
        default=[],
        metavar="NAME[:OPTION=VALUE,...]",
        help="hold this installed attack, detector, repairer or filter to the contract, with options that make it "
        "quick; can be given several times; test files are run only if they are named, too",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Where methods are asked for and no files, collect none."""
    if config.getoption("gifthorse") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is tested, as it was asked for."""
    asked = config.getoption("gifthorse")
    return [f"gifthorse contract: {' '.join(asked)}"] if asked else []


@pytest.hookimpl(tryfirst=True)  # so that -k, -m and the like choose among these tests, too
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the contract of what is asked for, as a test file that is not on disk."""
    asked = config.getoption("gifthorse")
    if not asked:
        return
    from ..errors import OptionError
    from .asked import contracts

    try:
        classes = contracts(asked)
    except OptionError as error:
        raise pytest.UsageError(str(error)) from error
    module = pytest.Module.from_parent(session, path=config.rootpath / NODE)
    module.obj = ModuleType(NODE)
    vars(module.obj).update(classes)
    items.extend(session.genitems(module))
