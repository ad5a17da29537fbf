"""The table of faults in docs/reliability.md names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_each_row_of_the_reliability_table_names_tests_that_exist() -> None:
    page = (ROOT / "docs/reliability.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(rows) > 30
    there = {
        f"{path.name}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    for row in rows:
        named = re.findall(r"`(test_\w+\.py::test_\w+)`", row)
        assert named, f"no test in: {row}"
        assert set(named) <= there, f"missing: {set(named) - there}"
