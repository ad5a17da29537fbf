import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import Outcome
from u2cut.batch.journal import Identities, Journal, finished, lines
from u2cut.batch.plan import Job
from u2cut.batch.result import Result
from u2cut.batch.summary import summarise_journal
from u2cut.errors import InputError, OutputError

Run = Callable[..., Outcome]


def failed(source: str, error: str) -> Result:
    return Result(Job(source, f"out/{source}"), "failed", error=InputError(error))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two runs: the second mends one failure of the first, and meets the other again."""
    path = tmp_path / "journal"
    with Journal(path, photos=6) as first:
        first.add(Result(Job("a", "out/a")))
        first.add(Result(Job("b", "out/b"), "skipped"))
        first.add(failed("c", "has 20,000 pixels"))
        first.add(failed("d", "has 30,000 pixels"))
    with Journal(path, photos=4) as second:
        second.add(Result(Job("a", "out/a"), "skipped"))
        second.add(Result(Job("c", "out/c")))
        second.add(failed("d", "out/d: is broken"))
    return path


def test_a_journal_is_on_disk_line_by_line(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", photos=2) as journal:
        for number, name in enumerate(("a", "b\n\udcff")):
            journal.add(Result(Job(name, "out")))
            *_, last = (tmp_path / "j").read_bytes().splitlines()
            assert json.loads(last)["input"] == name
            assert len(list(lines(tmp_path / "j"))) == 2 + number


def test_done_is_what_was_ok_or_skipped_at_last(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identities()
    assert finished(journal) == {identity(name, f"out/{name}") for name in "abc"}
    assert identity("a", "elsewhere/a") not in finished(journal)
    here = Path.cwd()
    monkeypatch.chdir("/")
    assert Identities()(str(here / "a"), str(here / "out/a")) in finished(journal)
    assert Identities()("a", "out/a") not in finished(journal)


def test_a_last_line_that_was_cut_off_is_passed_over_and_not_continued(journal: Path) -> None:
    whole = journal.read_bytes()
    for length in range(len(whole) - 150, len(whole)):
        journal.write_bytes(whole[:length])
        before = len(list(lines(journal)))
        with Journal(journal, photos=1) as again:
            again.add(Result(Job("e", "out/e")))
        after = list(lines(journal))
        assert len(after) == before + 2
        assert after[-1]["input"] == "e"


def test_what_is_no_journal_is_never_appended_to(tmp_path: Path) -> None:
    for content in (b"\xff\xd8 a photo", b'{"a": 1}\n', b"[]\n", b"\0" * 5000):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(InputError, match="isn't a journal"):
            Journal(tmp_path / "a.jpg", photos=1)
        assert (tmp_path / "a.jpg").read_bytes() == content


def test_two_runs_do_not_write_one_journal_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", photos=1), pytest.raises(OutputError, match="another run"):
        Journal(tmp_path / "j", photos=1)


def test_a_tally_counts_each_input_once_by_its_last_try(journal: Path) -> None:
    total = summarise_journal(journal)
    assert (total.runs, total.ok, total.skipped, total.failed, total.left) == (2, 2, 1, 1, 1)
    assert [(r.error, r.count, r.example) for r in total.reasons] == [("is broken", 1, "d")]
    assert total.started <= total.ended


def test_errors_that_differ_in_names_and_numbers_only_are_one_reason(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", photos=100) as journal:
        for i in range(50):
            error = f"out/{i}\\n.jpg: can't be written (No space left, {i} bytes)"
            journal.add(failed(f"{i}\n.jpg", error))
    (reason,) = summarise_journal(tmp_path / "j").reasons
    assert (reason.error, reason.count) == ("can't be written (No space left, 0 bytes)", 50)
    assert summarise_journal(tmp_path / "j").left == 50


def test_ten_thousand_photos_take_no_room_for_their_names(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", photos=10_000) as journal:
        for i in range(10_000):
            journal.add(Result(Job(f"{'long ' * 40}{i}.jpg", f"{i}.png")))
    tracemalloc.start()
    done = finished(tmp_path / "j")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(done) == 10_000
    assert size < 150 * 10_000, "their names alone have 200 bytes"


def test_a_run_goes_on_from_its_journal(u2cut: Run, disc: Path, photo: Path) -> None:
    folder, journal = disc.parent, disc.parent / "journal"
    bad = folder / "bad.jpg"
    bad.write_text("no photo")
    arguments = ("remove", disc, bad, photo, "-o", folder / "out")
    assert u2cut(*arguments, "--journal", journal).code == 8
    assert [line.get("status") for line in lines(journal)] == [None, "ok", "failed", "ok"]
    (folder / "out" / "disc.png").unlink()  # it isn't looked for again
    bad.write_bytes(photo.read_bytes())
    result = u2cut(*arguments, "--resume-from", journal, "--json")
    assert result.code == 0
    assert [json.loads(line)["input"] for line in result.out.splitlines()] == [str(bad)]
    assert not (folder / "out" / "disc.png").exists()
    assert u2cut(*arguments, "--resume-from", journal, "--json") == Outcome(0, b"", "")
    assert summarise_journal(journal).ok == 3


def test_what_the_journal_misses_but_exists_is_skipped(
    u2cut: Run, disc: Path, photo: Path, tmp_path: Path
) -> None:
    out, old, new = tmp_path / "out", tmp_path / "old", tmp_path / "new"
    assert u2cut("remove", disc, photo, "-o", out, "--journal", old).code == 0
    *head, _ = old.read_bytes().splitlines(keepends=True)
    old.write_bytes(b"".join(head)[:-30])  # killed, and the last blocks lost
    result = u2cut(
        "remove", disc, photo, "-o", out, "--resume-from", old, "--journal", new, "--json"
    )
    assert [json.loads(line)["status"] for line in result.out.splitlines()] == ["skipped"] * 2
    assert summarise_journal(new).skipped == 2


def test_report_sums_up(u2cut: Run, journal: Path) -> None:
    assert json.loads(u2cut("report", journal, "--json").out)["ok"] == 2
    text = u2cut("report", journal).out.decode()
    assert "is broken (as d)" in text
    assert u2cut("report", journal.with_name("missing")).code == 3


def test_a_journal_that_is_missing_or_none_ends_the_run_before_any_work(
    u2cut: Run, disc: Path
) -> None:
    for option in ("--journal", "--resume-from"):
        assert u2cut("remove", disc, option, disc).code == 3
    assert u2cut("remove", disc, "--journal", disc.parent / "no" / "folder").code == 4
    assert not disc.with_name("disc.cutout.png").exists()


def test_one_command_does_for_the_first_night_and_every_other(
    u2cut: Callable[..., Outcome], disc: Path, tmp_path: Path
) -> None:
    command = ("remove", disc, "-o", tmp_path / "out/", "--resume-from", tmp_path / "night.jsonl")
    first = u2cut(*command)
    assert first.code == 0
    assert "night.jsonl: not there yet, so a new one begins" in first.err
    written = (tmp_path / "out/disc.png").stat().st_mtime_ns
    second = u2cut(*command)
    assert (second.code, second.err) == (0, "")
    assert (tmp_path / "out/disc.png").stat().st_mtime_ns == written
    assert summarise_journal(tmp_path / "night.jsonl").ok == 1


def test_going_on_with_other_options_is_refused_with_both_shown(
    u2cut: Run, disc: Path, photo: Path, tmp_path: Path
) -> None:
    journal, out = tmp_path / "night.jsonl", tmp_path / "out/"
    command = ("remove", "-o", out, "--resume-from", journal)
    assert u2cut(*command, disc, "--background", "white", "--feather", "2").code == 0
    second = u2cut(*command, disc, photo, "--background", "black", "--clean")
    assert second.code == 2
    assert "made with --feather 2.0 --background (255, 255, 255)" in second.err
    assert "this run has --clean --background (0, 0, 0)" in second.err
    assert "say the same options again, or begin another journal" in second.err
    assert not (out / f"{photo.stem}.png").exists()
    # What changes no result is free.
    again = (*command, disc, photo, "--background", "white", "--feather", "2")
    assert u2cut(*again, "--jobs", "1", "--engine", "torch", "--batch-size", "1").code == 0
    assert u2cut("mask", "-o", out, "--resume-from", journal, disc).code == 2


def test_a_journal_of_an_earlier_version_is_gone_on_with(
    u2cut: Run, disc: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "old.jsonl"
    header = {"u2cut": "0.1.0", "time": "2026-01-01", "folder": str(tmp_path), "photos": 1}
    journal.write_text(json.dumps(header) + "\n")
    command = ("remove", disc, "-o", tmp_path / "out/", "--resume-from", journal)
    assert u2cut(*command, "--background", "white").code == 0
