from pathlib import Path

import pytest

from u2cut.datasets.pairs import find_pairs, read_names, restrict, scan, scan_folders
from u2cut.errors import DataError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_photo_and_a_mask_of_the_same_stem_are_a_pair(tmp_path):
    make(tmp_path / "cats", "images/b.v2.jpg", "images/a.webp", "masks/a.png", "masks/b.v2.png")
    pairs = find_pairs([tmp_path / "cats"])
    assert [pair.name for pair in pairs] == ["cats/a", "cats/b.v2"]
    assert pairs[0].image == tmp_path / "cats/images/a.webp"
    assert pairs[0].mask == tmp_path / "cats/masks/a.png"
    assert pairs[0].group == "cats"


def test_the_folder_names_of_duts_are_known(tmp_path):
    for half in ("DUTS-TR", "DUTS-TE"):
        make(tmp_path, f"{half}-Image/x.jpg", f"{half}-Mask/x.png")
    assert [pair.name for pair in find_pairs([tmp_path])] == ["DUTS-TE/x", "DUTS-TR/x"]


def test_a_root_may_hold_sets_at_any_depth(tmp_path):
    make(tmp_path, "pets/cats/images/1.jpg", "pets/cats/masks/1.png", "notes.txt")
    make(tmp_path, "things/Images/2.jpg", "things/Masks/2.png")
    assert [pair.name for pair in find_pairs([tmp_path])] == ["cats/1", "things/2"]


def test_sets_of_one_name_are_told_apart_by_the_folder_around_them(tmp_path):
    make(tmp_path, "cats/test/images/1.jpg", "cats/test/masks/1.png")
    make(tmp_path, "dogs/test/images/1.jpg", "dogs/test/masks/1.png")
    pairs = find_pairs([tmp_path / "dogs/test", tmp_path / "cats"])
    assert [pair.name for pair in pairs] == ["dogs/test/1", "cats/test/1"]
    assert [pair.group for pair in pairs] == ["dogs/test", "cats/test"]


def test_every_file_without_a_partner_is_named(tmp_path):
    make(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg", "masks/c.png", "masks/d.png")
    with pytest.raises(DataError, match="3 invalid files") as error:
        find_pairs([tmp_path])
    for line in ("images/a.jpg: no mask", "images/b.jpg: no mask", "masks/d.png: no photo"):
        assert line in str(error.value)


def test_files_that_cannot_be_told_apart_are_problems_and_litter_is_not(tmp_path):
    make(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png", "images/sub/x.jpg")
    make(tmp_path, "images/.DS_Store", "images/Thumbs.db")
    found = scan([tmp_path])
    assert len(found.pairs) == 1
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        "same stem as a.jpg",
        "a folder among the files of a set",
    ]


def test_a_name_cannot_forge_a_line_of_the_report(tmp_path):
    make(tmp_path, "images/a\nb.jpg", "masks/c.png")
    with pytest.raises(DataError, match=r"a\\nb\.jpg: no mask"):
        find_pairs([tmp_path])


def test_two_folders_anywhere_can_be_paired(tmp_path):
    make(tmp_path, "shop/in/a.jpg", "elsewhere/a.png")
    found = scan_folders(tmp_path / "shop/in", tmp_path / "elsewhere")
    assert [pair.name for pair in found.pairs] == ["shop/a"]
    with pytest.raises(DataError, match="can't read this folder"):
        scan_folders(tmp_path / "shop/in", tmp_path / "nowhere")


@pytest.mark.parametrize("name", [".", "nowhere", "photos.jpg", "n" * 300])
def test_a_folder_without_a_set_is_refused(tmp_path, name):
    make(tmp_path, "photos.jpg")
    with pytest.raises(DataError, match=r"no such folder|a set is .* images/ and masks/"):
        find_pairs([tmp_path / name])


def test_a_set_far_away_is_refused_with_a_remedy():
    with pytest.raises(DataError, match=r"s3://shop/val: .*copy it to this machine"):
        find_pairs([Path("s3://shop/val/")])


def test_a_list_of_names_restricts_the_pairs(tmp_path):
    make(tmp_path / "s", "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b.png")
    listing = tmp_path / "list.txt"
    listing.write_text("# chosen by hand\n\ns/b\n")
    pairs = find_pairs([tmp_path / "s"])
    assert [pair.name for pair in restrict(pairs, read_names(listing))] == ["s/b"]
    with pytest.raises(DataError, match="s/x: not in the data"):
        restrict(pairs, frozenset({"s/a", "s/x"}))


def test_a_list_that_is_empty_or_missing_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n")
    for name in ("empty.txt", "missing.txt"):
        with pytest.raises(DataError, match=name):
            read_names(tmp_path / name)
