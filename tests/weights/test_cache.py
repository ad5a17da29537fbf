"""The cache: what lies in it is verified, and what fails is never used."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from u2cut.errors import WeightsError
from u2cut.weights import bring_in, cache, find


@pytest.fixture
def cached(toy, content) -> Path:
    path = cache.path_of(toy.forms[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def damage(path: Path, *, keep_time: bool) -> None:
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_without_u2cut_home_the_platforms_cache_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("U2CUT_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "u2cut" / "weights"


def test_a_sound_file_is_found_without_the_network(toy, cached):
    found = find("toy", offline=True)
    assert (found.name, found.path, found.input_size) == ("toy", cached, 320)


def test_a_file_of_another_length_is_a_fault(toy, cached):
    cached.write_bytes(b"short")
    assert cache.fault(toy.forms[0]) == "it has 5 bytes where 1,200 are expected"


def test_a_file_is_hashed_once_and_then_known_by_size_and_time(toy, cached):
    assert cache.fault(toy.forms[0]) is None
    damage(cached, keep_time=True)
    assert cache.fault(toy.forms[0]) is None  # the price of a cheap check
    assert "its SHA-256 is" in str(cache.fault(toy.forms[0], full=True))


def test_a_file_that_was_touched_is_hashed_again(toy, cached):
    assert cache.fault(toy.forms[0]) is None
    damage(cached, keep_time=False)
    assert "its SHA-256 is" in str(cache.fault(toy.forms[0]))


def test_the_note_of_a_check_is_for_one_hash_only(toy, cached):
    assert cache.fault(toy.forms[0]) is None
    assert "its SHA-256 is" in str(cache.fault(replace(toy.forms[0], sha256="0" * 64)))


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"verified, I swear"])
def test_a_spoilt_note_means_hashing(note, toy, cached):
    cached.with_name("toy.pth.verified").write_bytes(note)
    damage(cached, keep_time=True)
    assert cache.fault(toy.forms[0]) is not None


def test_a_link_in_the_cache_is_refused(toy, cached, tmp_path, content):
    (tmp_path / "elsewhere").write_bytes(content)
    cached.unlink()
    cached.symlink_to(tmp_path / "elsewhere")
    for offline in (True, False):
        with pytest.raises(WeightsError, match=r"a link, which is refused.*weights remove toy"):
            find("toy", offline=offline)
    cache.remove(toy)
    assert (tmp_path / "elsewhere").read_bytes() == content


def test_a_folder_in_the_place_of_the_file_is_refused(toy, home):
    (home / "toy.pth").mkdir(parents=True)
    with pytest.raises(WeightsError, match="not a file, which is refused"):
        find("toy", offline=True)


def test_a_note_is_not_written_through_a_link(toy, cached, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    cached.with_name("toy.pth.verified").symlink_to(precious)
    assert cache.fault(toy.forms[0]) is None
    assert precious.read_text() == "mine"


def test_a_cache_that_takes_no_notes_still_serves(toy, cached):
    cached.with_name("toy.pth.verified").mkdir()
    assert find("toy", offline=True).path == cached


def test_removing_takes_all_that_is_left_of_the_weights(toy, cached, home):
    for name in ("toy.pth.part", "toy.pth.verified", "toy.unreachable", "other.pth"):
        (home / name).touch()
    assert len(cache.remove(toy)) == 4
    assert [p.name for p in home.iterdir()] == ["other.pth"]
    assert cache.remove(toy) == []


def test_a_file_brought_by_hand_is_recognised_by_its_hash(toy, home, content, tmp_path):
    brought = tmp_path / "some download (1).bin"
    brought.write_bytes(content)
    found = bring_in(brought)
    assert (found.name, found.path) == ("toy", home / "toy.pth")
    assert found.path.read_bytes() == content == brought.read_bytes()
    assert find("toy", offline=True) == found


def test_a_file_brought_by_hand_replaces_a_damaged_one_and_a_part(toy, cached, content, tmp_path):
    cached.write_bytes(b"damaged")
    cached.with_name("toy.pth.part").write_bytes(b"longer than the real thing" * 100)
    (tmp_path / "good").write_bytes(content)
    bring_in(tmp_path / "good", "toy")
    assert cached.read_bytes() == content
    assert not cached.with_name("toy.pth.part").exists()


def test_the_unfinished_file_itself_may_be_brought(toy, home, content):
    home.mkdir(parents=True)
    (home / "toy.pth.part").write_bytes(content)
    assert bring_in(home / "toy.pth.part").path.read_bytes() == content


def test_a_file_that_nobody_knows_is_not_brought(toy, home, content, tmp_path):
    (tmp_path / "mine.pth").write_bytes(content + b"!")
    with pytest.raises(WeightsError, match=r"not one of u2net, .*toy; .*--weights FILE"):
        bring_in(tmp_path / "mine.pth")
    assert not home.exists()


def test_a_file_is_not_brought_under_another_name(toy, content, tmp_path):
    (tmp_path / "good").write_bytes(content)
    with pytest.raises(WeightsError, match=r"good: not one of u2netp; its SHA-256 is"):
        bring_in(tmp_path / "good", "u2netp")


def test_a_missing_file_can_not_be_brought(toy, tmp_path):
    with pytest.raises(WeightsError, match=r"gone\\n: No such file"):
        bring_in(tmp_path / "gone\n")
