"""Profiles: `ci`, the same few cases every time, in `make test`; `nightly`, thousands of new ones, in `make fuzz`."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzzing import BUDGET
from tests.making import unchecked

# How long a case takes says nothing here: machines are shared, and the first case imports half of torch.
COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("ci", max_examples=60, derandomize=True, database=None, **COMMON)
settings.register_profile("nightly", max_examples=1500, **COMMON)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-minutes", type=float, help="of all fuzz tests together; what is left then is left out")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("ci")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Every fuzz test has an equal share of the time, where there is an end to it."""
    minutes = item.config.getoption("--fuzz-minutes", default=None) or float("inf")
    BUDGET.begin(60 * minutes / sum("tests/fuzz/" in each.nodeid for each in item.session.items))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    if call.when == "call":
        item.user_properties.append(("cases", BUDGET.cases))
    outcome = yield
    report = outcome.get_result()
    if call.when == "call" and report.passed and BUDGET.spent and not BUDGET.cases:
        report.outcome, report.longrepr = "failed", "no case was tried in its share of the time"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if "cases" in dict(report.user_properties)
    ]
    if reports:
        terminalreporter.section("cases fuzzed")
        for report in reports:
            terminalreporter.line(f"{dict(report.user_properties)['cases']:7,}  {report.nodeid.rpartition('::')[2]}")
        terminalreporter.line(f"{sum(dict(report.user_properties)['cases'] for report in reports):7,}  in all")


@pytest.fixture(autouse=True, scope="module")
def _shapes_unchecked() -> Iterator[None]:
    """Shapes are checked by all other tests, also after these; here they would take most of the time."""
    with unchecked():
        yield
