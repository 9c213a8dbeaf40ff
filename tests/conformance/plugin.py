"""Runs Thespian's own test suite against our engine: a pytest plugin, given with `-p`.

The suite makes its systems by the name of a module in `thespian.system`, so ours is put in the place of
`simpleSystemBase` before anything is collected. Names of tests stay as they are. The suite also skips some
tests on that base; those that hold for our engine are let through (`suite.ALSO_APPLY`).
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pileward.actors.engine import Engine
from tests.conformance.suite import ALSO_APPLY, without_parameters


class ActorSystemBase(Engine):
    """Our engine with the constructor that Thespian calls when a base is asked for by name."""

    def __init__(self, system: Any, logDefs: Any = None) -> None:
        super().__init__(capabilities=system.capabilities, allow_sources=True)


class Conformance:
    """Lets tests through that apply to us, and notes how each ended."""

    def __init__(self, outcomes_file: str | None) -> None:
        self._outcomes_file = outcomes_file
        self._outcomes: dict[str, str] = {}
        self.running = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.running = without_parameters(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        if self._outcomes_file is not None:
            Path(self._outcomes_file).write_text(json.dumps(self._outcomes), encoding="utf-8")

    def replace_skipping(self) -> None:
        """Put our decision in the place of the suite's own, before its modules take that over by name."""
        suite = vars(importlib.import_module("thespian.test"))
        skip = suite["actor_system_unsupported"]

        def actor_system_unsupported(asys: Any, *bases: str) -> None:
            if self.running not in ALSO_APPLY:
                skip(asys, *bases)

        suite["actor_system_unsupported"] = actor_system_unsupported


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", help="write how each test ended to this file, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    _replace_base()
    conformance = Conformance(config.getoption("--outcomes"))
    conformance.replace_skipping()
    config.pluginmanager.register(conformance, "pileward-conformance")


def _replace_base() -> None:
    original = importlib.import_module("thespian.system.simpleSystemBase")
    module = types.ModuleType(original.__name__)
    vars(module).update(vars(original))
    vars(module)["ActorSystemBase"] = ActorSystemBase
    sys.modules[module.__name__] = module
    vars(importlib.import_module("thespian.system"))["simpleSystemBase"] = module
