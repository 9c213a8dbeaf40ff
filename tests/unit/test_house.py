"""The house keeps its own promises: files, links, contracts and pages that must not drift apart."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

import pytest

import pileward

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_version_is_the_same_everywhere(setup_cfg: configparser.ConfigParser) -> None:
    version = setup_cfg["metadata"]["version"]
    assert pileward.__version__ == version
    assert f"## {version}" in read("CHANGELOG.md")


def test_every_package_has_its_place_in_the_import_contracts(setup_cfg: configparser.ConfigParser) -> None:
    contracts = [setup_cfg[name] for name in setup_cfg.sections() if name.startswith("importlinter:contract")]
    placed = " ".join(
        contract.get("layers", "") + " " + contract.get("source_modules", "") for contract in contracts
    )
    packages = {path.parent.name for path in (ROOT / "pileward").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"pileward\.(\w+)", placed))


def test_every_decision_is_in_the_index() -> None:
    pages = {path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    assert set(re.findall(r"\]\((\d{4}-[^)]+)\)", read("docs/decisions/README.md"))) == pages


def test_continuous_integration_runs_everything() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in read(".ci/run")
    assert "Apache License" in read("LICENSE")


def test_make_lists_what_the_readme_promises() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)`", read("README.md"))) <= targets
