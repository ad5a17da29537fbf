"""What u2cut's source doesn't do: run code or shells, fetch in clear, guess names, stray."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from u2cut.files.temporary import TemporaryFile

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "u2cut").rglob("*.py"))
BUNDLED = ("--model", "u2netp", "--size", "64", "--engine", "torch")

# Called by these names, a function runs code, a shell or a pickle, or makes a guessable file.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "system", "popen", "spawn", "Popen", "run_module",
    "getoutput", "mktemp", "unsafe_load", "loads_pickle", "load_module",
}  # fmt: skip
FORBIDDEN_MODULES = {"subprocess", "pickle", "marshal", "shelve", "dill", "yaml", "pty", "code"}
# Methods of arrays, networks and patterns that share a forbidden name.
ALLOWED = {("re", "compile"), ("torch", "compile")}
# pip is the one program that is started: as a list of words, never through a shell.
PIP = ROOT / "u2cut" / "weights" / "package_index.py"


def called(tree: ast.AST) -> Iterator[tuple[str | None, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield None, function.id
            elif isinstance(function, ast.Attribute):
                owner = function.value.id if isinstance(function.value, ast.Name) else "?"
                yield owner, function.attr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_code_no_shell_no_pickle_is_run(path: Path) -> None:
    tree = ast.parse(path.read_text())
    allowed = ALLOWED | ({("subprocess", "Popen")} if path == PIP else set())
    for owner, name in called(tree):
        builtin_only = name in ("eval", "exec", "compile")
        if name in FORBIDDEN and (owner, name) not in allowed and not (builtin_only and owner):
            pytest.fail(f"{owner}.{name}() is called")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
            )
            found = {str(m).split(".")[0] for m in modules} & FORBIDDEN_MODULES
            assert found <= ({"subprocess"} if path == PIP else set())
        if isinstance(node, ast.keyword) and node.arg in ("shell", "weights_only", "verify"):
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is (node.arg != "shell"), f"{node.arg} at line {node.lineno}"


OWN_ADDRESS = "http://%s:%d,"  # that the service shows when it begins
# XML's names for vocabularies, which nobody fetches.
NAMESPACES = (
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#}",
    "http://purl.org/dc/elements/1.1/}",
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_fetched_in_clear(path: Path) -> None:
    for url in re.findall(r"http://[^\s\"'`]*", path.read_text()):
        assert url in ("http://", OWN_ADDRESS, *NAMESPACES), url


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_torch_loads_tensors_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "load"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "torch"
        ):
            assert any(k.arg == "weights_only" for k in node.keywords), f"line {node.lineno}"


def test_a_run_writes_into_its_output_its_journal_and_the_cache_only(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    def everything() -> dict[Path, tuple[int, int]]:
        found = (p for folder in (noise, tmp_path) for p in folder.rglob("*"))
        return {p: (p.lstat().st_mtime_ns, p.lstat().st_ino) for p in found if p.is_file()}

    (tmp_path / "beside").write_text("untouched")
    link = tmp_path / "a link.png"
    link.symlink_to(tmp_path / "beside")
    before = everything()
    out = tmp_path / "out"
    out.mkdir()
    (out / "00.png").symlink_to(tmp_path / "beside")  # a trap: the result must not go through it
    command = ("remove", noise / "00.jpg", *BUNDLED, "-o", out, "--overwrite")
    assert fork_server.run(*command, "--journal", tmp_path / "journal") == 0, fork_server.stderr
    after = everything()
    assert {p: after[p] for p in before} == before
    assert set(after) - set(before) == {out / "00.png", tmp_path / "journal"}
    assert not (out / "00.png").is_symlink()


def test_names_of_half_written_files_can_not_be_guessed(tmp_path: Path) -> None:

    seen = set()
    for _ in range(100):
        with TemporaryFile(str(tmp_path)) as part:
            seen.add(part.path.name)
            assert part.path.stat().st_nlink == 1
    assert len(seen) == 100
    assert all(re.fullmatch(r"\.[0-9a-f]{16}\.u2cut-part", name) for name in seen)
