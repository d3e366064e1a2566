"""The folders of tools/ are floors: a module imports from its own and lower ones, and never in a circle."""

import ast
from graphlib import TopologicalSorter

import pytest

from tools.common.paths import ROOT

LOWER = {
    "common": set(),
    "board": {"common"},
    "cloud": {"common"},
    "factory": {"common"},
    "fleet": {"common"},
    "simulate": {"common", "board", "cloud", "factory", "fleet"},
    "bench": {"common", "board", "cloud", "factory", "fleet"},
    "admit": {"common", "board", "cloud", "factory"},
    "cli": {"common", "board", "cloud", "factory", "fleet", "simulate", "bench", "admit"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "tools").rglob("*.py")
}


def imported(name, nodes):
    """The project's modules that these statements of the module import."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            home = ".".join(part for part in (base, node.module) if part)
            parts = [f"{home}.{alias.name}" for alias in node.names]
            found = [part if part in MODULES else home for part in parts]
        else:
            continue
        yield from (module for module in found if module in MODULES or module.split(".")[0] == "tests")


@pytest.mark.parametrize("folder", LOWER)
def test_a_folder_imports_no_higher_one(folder):
    for name, path in MODULES.items():
        if name.startswith(f"tools.{folder}."):
            nodes = ast.walk(ast.parse(path.read_text()))
            folders = {module.split(".")[1] for module in imported(name, nodes) if module != "tools"}
            assert folders <= LOWER[folder] | {folder}, name


def test_no_module_imports_itself_through_others():
    graph = {
        name: {module for module in imported(name, ast.parse(path.read_text()).body) if module in MODULES}
        for name, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()
