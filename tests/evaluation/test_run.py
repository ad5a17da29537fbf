"""``evaluate()`` in Python finds what ``u2cut eval`` prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ellipses import write_set
from u2cut.errors import DataError, UsageError
from u2cut.evaluation import evaluate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("eval") / "set", 3)


@pytest.mark.parametrize("options", [{}, {"matting": "fast"}, {"size": 128, "ignore": 255}])
def test_python_and_the_command_line_agree(data: Path, options: dict[str, object]) -> None:
    report = evaluate(data, model="u2netp", worst=1, **options)
    words = [w for name, value in options.items() for w in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "u2cut", "eval", "--data", data, "--model", "u2netp", "--json"]
    found = json.loads(subprocess.run([*command, *words], capture_output=True, check=True).stdout)
    (scores,) = (s["scores"] for s in found["sets"])
    assert scores["mae"] == pytest.approx(report.sets["set"].scores.mae, abs=1e-6)
    assert scores["iou"] == pytest.approx(report.sets["set"].scores.iou, abs=1e-6)
    assert report.source == found["source"]
    assert len(report.worst) == 1


def test_another_tools_maps_are_judged(data: Path) -> None:
    report = evaluate(images=data / "images", masks=data / "masks", pred=data / "masks")
    assert report.sets["set"].scores.mae == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "say what to judge"),
        ({"data": 1, "modell": "u2net"}, "no option modell"),
        ({"data": 1, "pred": "maps", "model": "u2net"}, "leave out the network"),
        ({"data": 1, "pred": "maps", "matting": "fast"}, "leave out --matting"),
        ({"data": 1, "ignore": 300}, "ignore"),
        ({"data": 1, "images": "a", "masks": "b"}, "choose --data"),
        ({"images": "a"}, "go together"),
    ],
)
def test_what_contradicts_itself_is_refused(
    data: Path, options: dict[str, object], said: str
) -> None:
    where = [data] if options.pop("data", None) else []
    with pytest.raises(UsageError, match=said):
        evaluate(*where, **options)


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        evaluate(tmp_path / "nowhere")
