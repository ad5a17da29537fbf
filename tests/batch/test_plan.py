import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from u2cut.batch.plan import Job, Plan, plan
from u2cut.errors import InputError, OutputError, UsageError
from u2cut.files import STD
from u2cut.imaging.formats import Format
from u2cut.options import InputOptions, OutputOptions


def planned(
    *inputs: object, options: InputOptions | None = None, **output: object
) -> list[tuple[str, str]]:
    with plan(
        tuple(map(os.fspath, inputs)),
        options or InputOptions(),
        OutputOptions(**output),
        label="cutout",
    ) as jobs:
        assert len(jobs) == len(list(jobs))
        return [(j.source, j.target) for j in jobs]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in (
        "b.jpg",
        "a.JPG",
        "notes.txt",
        ".hidden.jpg",
        "inside/c.png",
        "inside/deep/d.webp",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_outputs_lie_beside_their_inputs_by_default(tree: Path) -> None:
    assert planned(tree / "b.jpg") == [(f"{tree}/b.jpg", f"{tree}/b.cutout.png")]


def test_a_folder_gives_its_photos_in_order_and_nothing_else(tree: Path) -> None:
    assert planned(tree, output="out/") == [
        (f"{tree}/a.JPG", "out/a.png"),
        (f"{tree}/b.jpg", "out/b.png"),
    ]


def test_recursive_keeps_the_tree(tree: Path) -> None:
    found = planned(tree, options=InputOptions(recursive=True), output="out")
    assert [t for _, t in found] == [
        "out/a.png",
        "out/b.png",
        "out/inside/c.png",
        "out/inside/deep/d.png",
    ]


def test_an_output_folder_inside_the_input_folder_is_not_input(tree: Path) -> None:
    out = tree / "out"
    out.mkdir()
    (out / "old.png").touch()
    found = planned(tree, options=InputOptions(recursive=True), output=str(out))
    assert len(found) == 4


def test_results_beside_the_inputs_are_not_input_again(tree: Path) -> None:
    (tree / "b.cutout.png").touch()
    (tree / "b.mask.png").touch()
    assert len(planned(tree, skip_existing=True)) == 2


def test_a_link_to_a_folder_above_does_not_loop(tree: Path) -> None:
    (tree / "inside" / "up").symlink_to(tree, target_is_directory=True)
    assert len(planned(tree, options=InputOptions(recursive=True), output="out")) == 4


def test_a_pattern_that_the_shell_left_alone_is_expanded(tree: Path) -> None:
    assert [s for s, _ in planned(f"{tree}/**/*.png", output="out/")] == [f"{tree}/inside/c.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    odd = tmp_path / "a[1].jpg"
    odd.touch()
    assert planned(odd) == [(str(odd), str(tmp_path / "a[1].cutout.png"))]


def test_stdin_goes_to_stdout() -> None:
    assert planned(STD) == [(STD, STD)]


@pytest.mark.parametrize(("null", "separator"), [(False, "\n"), (False, "\r\n"), (True, "\0")])
def test_a_list_names_inputs(tmp_path: Path, null: bool, separator: str) -> None:
    names = [f"{tmp_path}/ä {i}.jpg" for i in range(5000)]  # longer than a read
    listed = tmp_path / "list"
    listed.write_text(separator.join([*names, ""]), newline="")
    options = InputOptions(from_file=str(listed), null=null)
    assert [s for s, _ in planned(options=options, output="out/")] == names


def test_a_nul_separated_list_read_without_null_is_explained(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_bytes(b"a.jpg\0b.jpg\0")
    with pytest.raises(InputError, match="-0"):
        planned(options=InputOptions(from_file=str(listed)), output="out/")


@pytest.mark.parametrize(
    "name", ["a" * 246 + ".jpg", "ä" * 120 + ".jpg", "-leading.jpg", "a b.jpg"]
)
def test_long_and_odd_names_give_names_that_can_be_created(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for output in ({}, {"output": str(tmp_path / "out") + "/"}):
        ((_, target),) = planned(tmp_path / name, **output)
        Path(target).parent.mkdir(exist_ok=True)
        Path(target).touch()


def test_the_format_decides_the_ending(tree: Path) -> None:
    assert planned(tree / "b.jpg", output="out/", format=Format.WEBP)[0][1] == "out/b.webp"
    assert Job("a", "b.tif").format is Format.TIFF


def test_keep_ending_tells_equal_stems_apart(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    targets = [t for _, t in planned(tmp_path, output="out/", keep_ending=True)]
    assert targets == ["out/a.jpg.png", "out/a.png.png"]


def test_two_inputs_for_one_output_are_refused_naming_both(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(OutputError, match=r"a\.jpg and .*a\.png would both"):
        planned(tmp_path, output="out/")


def test_an_existing_output_is_refused(tree: Path) -> None:
    (tree / "b.cutout.png").touch()
    with pytest.raises(OutputError, match="exists already; --overwrite"):
        planned(tree / "b.jpg")
    assert planned(tree / "b.jpg", overwrite=True) == planned(tree / "b.jpg", skip_existing=True)


def test_an_output_is_never_its_own_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(OutputError, match="own input"):
        planned(tmp_path / "a.png", output=str(tmp_path), overwrite=True)


def test_an_output_is_never_another_input_even_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.png").touch()
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(OutputError, match="another input"):
        planned(tmp_path / "a.jpg", tmp_path / "b.png", output=str(out), overwrite=True)


@pytest.mark.parametrize(
    ("inputs", "output", "match"),
    [
        ((), None, "no input"),
        (("-", "-"), None, "twice"),
        (("a.jpg", "b.jpg"), "-", "stdout takes one"),
        (("a.jpg", "b.jpg"), "x.png", "name a folder"),
        (("a.jpg",), "x.psd", "can't write files of this kind"),
    ],
)
def test_contradictions_are_usage_errors(
    inputs: tuple[str, ...], output: str | None, match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        planned(*inputs, output=output)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.jpg").touch()
    with pytest.raises(InputError, match=r"no photos found .*\.avif.*--recursive"):
        planned(tmp_path, output="out/")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1),
            st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1),
        ),
        max_size=40,
    )
)
def test_a_plan_returns_what_was_put_in_again_and_again(pairs: list[tuple[str, str]]) -> None:
    jobs = [Job(source, target) for source, target in pairs]
    with Plan() as spooled:
        for job in jobs:
            spooled.append(job)
        assert list(spooled) == list(spooled) == jobs


def test_a_pattern_goes_through_folders_but_not_through_links_in_circles(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("round", "again", "and again"):
        (tree / name).symlink_to(tree)
    (tree / "inside" / "[e].jpg").touch()
    (tree / ".hidden").mkdir()
    (tree / ".hidden" / "f.jpg").touch()
    photos = ["b.jpg", "inside/[e].jpg"]
    found = planned(f"{tree}/**/*.jpg", output="out/")
    assert [source for source, _ in found] == [f"{tree}/{name}" for name in photos]
    monkeypatch.chdir(tree)
    assert [source for source, _ in planned("**/*.jpg", output="out/")] == photos


def test_a_folders_entries_that_are_no_files_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "a.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    names = [Path(job[0]).name for job in planned(tmp_path, output="out/")]
    assert names == ["a.jpg", "link.jpg"]


def test_what_is_finished_is_left_out_and_its_output_not_looked_for(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").touch()  # would be refused: neither --overwrite nor --skip-existing
    with plan(
        (str(tmp_path),),
        InputOptions(),
        OutputOptions(output=str(out)),
        label="cutout",
        is_finished=lambda source, target: source.endswith("a.jpg") and target.endswith("a.png"),
    ) as jobs:
        assert [Path(job.source).name for job in jobs] == ["b.jpg"]
        assert jobs.finished == 1


def test_an_empty_name_is_refused_for_a_variable_may_be_unset(tree: Path) -> None:
    with pytest.raises(UsageError, match="input's name is empty"):
        planned(tree / "b.jpg", "")
    with pytest.raises(UsageError, match="output's name is empty"):
        planned(tree / "b.jpg", output="")


def test_a_file_or_device_without_an_ending_is_no_folder_for_results(tree: Path) -> None:
    (tree / "out").touch()
    for output in (f"{tree}/out", os.devnull):
        with pytest.raises(OutputError, match=f"{output}: exists and is no folder"):
            planned(tree / "b.jpg", output=output)


def test_a_photo_named_twice_is_said_to_be(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    with pytest.raises(OutputError, match=r"b\.jpg: named twice"):
        planned("b.jpg", tree / "b.jpg", output="out/")


def test_an_output_with_too_long_a_name_is_planned_and_fails_when_written(tree: Path) -> None:
    output = f"{tree}/{'n' * 300}.png"
    assert planned(tree / "b.jpg", output=output) == [(f"{tree}/b.jpg", output)]


def test_no_room_for_temporary_files_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", f"{tree}/nowhere")
    with pytest.raises(OutputError, match=r"temporary file .*No such file.* TMPDIR"):
        planned(tree / "b.jpg")


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_pipe_or_device_is_never_replaced_by_a_result(tree: Path, overwrite: bool) -> None:
    os.mkfifo(tree / "out.png")
    with pytest.raises(OutputError, match=r"out\.png: is a device or a pipe, and no file"):
        planned(tree / "b.jpg", output=f"{tree}/out.png", overwrite=overwrite)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_list_with_a_byte_order_mark_names_the_same_photos(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "a.jpg").touch()
    listed = tmp_path / "list.txt"
    listed.write_bytes(mark + f"{tmp_path}/a.jpg\r\n".encode())
    found = plan((), InputOptions(from_file=str(listed)), OutputOptions(), label="cutout")
    with found as jobs:
        assert [job.source for job in jobs] == [f"{tmp_path}/a.jpg"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_list_in_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes("\ufeffa.jpg\n".encode(encoding))
    with pytest.raises(InputError, match="UTF-16: save it as UTF-8"):
        plan((), InputOptions(from_file=str(listed)), OutputOptions(), label="cutout")
