import os
from pathlib import Path

import pytest

from u2cut import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux's own")
def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 1 << 16), ("", 1 << 16)],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, text: str, expected: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert cores._quota(file) == expected
    assert cores._quota(tmp_path / "none") == 1 << 16


@pytest.mark.parametrize(("told", "left"), [("1", 1), ("0", None), ("many", None), ("4096", None)])
def test_a_scheduler_says_how_many_are_a_process_own(
    monkeypatch: pytest.MonkeyPatch, told: str, left: int | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    without = cores.available_cores()
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert cores.available_cores() == (left or without)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16 amx_tile", True), ("fpu avx512f", False)],
)
def test_only_a_processor_with_the_instructions_computes_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: avx512_bf16 of a kind\nflags\t\t: {flags}\n")
    monkeypatch.setattr(cores, "_CPUINFO", info)
    assert cores.computes_in_bf16() is expected
    monkeypatch.setattr(cores, "_CPUINFO", tmp_path / "none")
    assert not cores.computes_in_bf16()
