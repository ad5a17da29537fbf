"""What is released: the wheel and the source archive, built and opened."""

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from u2cut.version import __version__
from u2cut.weights.notes import hash_file
from u2cut.weights.registry import BUNDLED, REFINER, bundled_path

ROOT = Path(__file__).parent.parent
MOST, MOST_SOURCE = 8_000_000, 9_000_000  # bytes


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = built.glob("*.whl")
    assert path.stat().st_size <= MOST
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_the_package_and_the_weights_and_nothing_else(wheel: Path) -> None:
    assert {p.name for p in wheel.iterdir()} == {"u2cut", f"u2cut-{__version__}.dist-info"}
    own = {p.relative_to(ROOT) for p in (ROOT / "u2cut").rglob("*.py")}
    packed = {p.relative_to(wheel) for p in (wheel / "u2cut").rglob("*.py")}
    assert packed == own
    for name in (*BUNDLED, REFINER):
        bundled = wheel / f"u2cut/weights/bundled/{name}.safetensors"
        assert hash_file(bundled) == hash_file(bundled_path(name))
    assert (wheel / "u2cut/py.typed").exists()


def test_the_metadata_say_what_it_is_and_needs(wheel: Path) -> None:
    folder = wheel / f"u2cut-{__version__}.dist-info"
    said = email.message_from_string((folder / "METADATA").read_text("utf-8"))
    assert (said["Name"], said["Version"], said["Requires-Python"]) == (
        "u2cut",
        __version__,
        ">=3.11",
    )
    assert said["License-Expression"] == "Apache-2.0"
    assert {"openvino", "heic", "train"} <= set(said.get_all("Provides-Extra", []))
    needed = [r for r in said.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert any(r.startswith("torch") for r in needed)
    assert {p.name for p in (folder / "licenses").iterdir()} == {"LICENSE", "NOTICE"}
    assert "u2cut" in (folder / "entry_points.txt").read_text()


def test_the_installed_command_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "u2cut", "remove", ROOT / "examples/cat.jpg", "--offline"]
    done = subprocess.run(
        [*words, "--model", "u2netp", "-o", tmp_path / "cat.png"],
        cwd=wheel,  # comes before the checkout on the path
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cat.png").exists()


def test_the_source_archive_builds_and_tests(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    assert path.stat().st_size <= MOST_SOURCE
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "Makefile"}
    wanted |= {"weights/u2netp.safetensors", "tests/test_distribution.py", ".importlinter"}
    assert wanted <= names
    assert not [name for name in names if name.startswith((".venv", "out/", ".git/"))]
