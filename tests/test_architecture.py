"""What the whole package keeps to: light start, documented and tested options.

Who may import whom is import-linter's to hold: see .importlinter.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from reference import updated

from u2cut.version import __version__

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "u2cut"

HEAVY = {"numpy", "cv2", "PIL", "torch", "requests", "openvino", "matplotlib", "onnx"}
HELP = """
import contextlib, io, sys
from u2cut.cli.app import command_tree, run
names = list(command_tree().commands)
for words in [[], *([name] for name in names), ["weights", "download"]]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run([*words, "--help"]) == 0
    assert "Usage" in out.getvalue(), words
print(*sorted(name for name in sys.modules if "." not in name))
"""


def test_no_commands_help_loads_anything_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY


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


def test_the_command_reference_is_that_of_the_commands() -> None:
    """Mend it with: python docs/reference.py."""
    page = (ROOT / "docs/commands.md").read_text()
    assert updated(page) == page


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
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert sys.version_info >= (3, 11)


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def test_the_way_by_hand_gives_what_the_command_gives(tmp_path: Path) -> None:
    photo, ours = ROOT / "examples/coffee.jpg", tmp_path / "hand.png"
    script = ROOT / "examples/cutout_by_hand.py"
    subprocess.run([sys.executable, script, photo, ours], check=True)
    command = [sys.executable, "-m", "u2cut", "remove", photo, "--model", "u2netp"]
    subprocess.run([*command, "-o", tmp_path / "command.png"], check=True)
    assert ours.read_bytes() == (tmp_path / "command.png").read_bytes()
