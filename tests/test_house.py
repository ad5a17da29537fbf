"""The house's own rules, read from the source: who imports whom, and that no option is dead."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference import updated

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "u2cut"

EVERYONE = {"errors", "stdio", "describe"}
MAY_IMPORT = {
    "errors": set(),
    "stdio": set(),
    "describe": set(),
    "model": set(),
    "saliency": set(),
    "pairs": set(),
    "masks": {"imaging", "pairs"},
    "weights": {"model"},
    "imaging": set(),
    "matting": {"saliency"},
    "engines": {"weights", "model", "saliency"},
    "pipeline": {"engines", "saliency", "matting", "imaging", "weights"},
    "remover": {"pipeline", "imaging"},
    "training": {"saliency", "weights", "imaging", "model", "pairs", "masks", "evaluation"},
    "evaluation": {"imaging", "pairs", "masks"},
    "cli": {"pipeline", "weights", "engines", "imaging", "training", "evaluation", "pairs"},
}
HEAVY = {"numpy", "cv2", "PIL", "torch", "requests", "openvino", "matplotlib"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in modules()}
    found = {
        name.split(".")[1]
        for name in imports(ast.parse(path.read_text()))
        if name.startswith("u2cut.") and name.split(".")[1] in rooms
    }
    assert found <= MAY_IMPORT[room] | EVERYONE | {room}


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if room_of(p) in ("cli", "errors", "stdio", "describe")],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_the_command_line_imports_nothing_heavy_at_its_top(path: Path) -> None:
    top = ast.Module([n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.If)], [])
    for node in top.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not {name.split(".")[0] for name in imports(node)} & HEAVY


def options() -> list[tuple[str, str]]:
    """Every option of every command: ("remove", "--output")."""
    from u2cut.cli.app import command_tree

    found = []

    def walk(command: object, path: str) -> None:
        for name, sub in getattr(command, "commands", {}).items():
            walk(sub, f"{path} {name}".strip())
        for parameter in command.params:  # type: ignore[attr-defined]
            for flag in (*parameter.opts, *parameter.secondary_opts):
                if flag.startswith("--") and flag not in ("--help", "--version"):
                    found.append((path, flag))

    walk(command_tree(), "")
    return found


def test_the_readmes_reference_is_that_of_the_commands() -> None:
    """Mend it with: python docs/reference.py."""
    readme = (ROOT / "README.md").read_text()
    assert updated(readme) == readme


def test_every_option_is_in_a_test() -> None:
    tests = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    untested = {
        flag
        for _, flag in options()
        if not re.search(rf"{re.escape(flag)}\b", tests)
        and not re.search(rf"\b{flag.removeprefix('--').replace('-', '_')}=", tests)
    }
    assert not untested


def test_every_option_has_a_help_text() -> None:
    from u2cut.cli.app import command_tree

    def walk(command: object) -> Iterator[object]:
        yield command
        for sub in getattr(command, "commands", {}).values():
            yield from walk(sub)

    for command in walk(command_tree()):
        for parameter in command.params:  # type: ignore[attr-defined]
            if parameter.param_type_name == "option":
                assert parameter.help, f"{command}: {parameter.name}"


def test_the_package_is_typed_and_its_version_is_in_the_changelog() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    assert sys.version_info >= (3, 11)
