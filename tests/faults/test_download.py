"""A bad network, a full disk, a killed process: never a bad file, never a hang, always a reason."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from u2cut.errors import WeightsError
from u2cut.weights import cache, download, find, registry
from u2cut.weights.download import fetch
from u2cut.weights.transfer import Answer, Limits, SourceError

CHILD = """
import json, sys
from u2cut.weights.download import fetch
from u2cut.weights.registry import Form, WeightSpec
from u2cut.weights.transfer import Answer, Limits, SourceError
spec, limits = json.loads(sys.argv[1])
forms = tuple(Form(**{**form, "urls": tuple(form["urls"])}) for form in spec.pop("forms"))
print(fetch(WeightSpec(**spec, forms=forms), limits=Limits(**limits)))
"""


def child(spec, limits, before=""):
    arguments = json.dumps([asdict(spec), asdict(limits)])
    return subprocess.Popen(
        [sys.executable, "-c", before + CHILD, arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def with_urls(spec, *urls):
    return replace(spec, forms=(replace(spec.forms[0], urls=urls),))


def kept(home: Path) -> set[str]:
    """The files that could be taken for weights, now or by a later run."""
    return {p.name for p in home.iterdir() if not p.name.startswith(".")} - {"toy.unreachable"}


@pytest.mark.parametrize(
    "switch",
    [
        "whole",
        "moved",
        "moved_with_much_to_say",
        "cut",
        "stall",
        "cut_then_whole_again",
        "busy_once",
        "busy_until_a_date",
        "busy_until_whenever",
        "broken_twice",
        "confirm",
    ],
)
def test_weights_arrive_whole_in_spite_of(switch, spec_for, home, body, quick):
    path = fetch(spec_for(switch), limits=quick)
    assert path == home / "toy.pth"
    assert path.read_bytes() == body
    assert kept(home) == {"toy.pth", "toy.pth.verified"}


@pytest.mark.parametrize(
    ("switch", "reason"),
    [
        ("cut_and_never_resumed", "the connection broke"),
        ("stall_at_once", "stopped sending|nothing came"),
        ("silent", "no answer in time"),
        ("drip", "nothing came for 0.5 s"),
        ("dripping_head", "no answer in time"),
        ("range_unasked", "another part"),
        ("never_satisfied", "416"),
        ("too_much", "more than the 300,000 bytes"),
        ("too_much_declared", "has 300,004 bytes where 300,000 belong"),
        ("too_little", "stopped after 299,999 bytes"),
        ("too_little_declared", "has 299,999 bytes where 300,000 belong"),
        ("endless", "more than the 300,000 bytes"),
        ("wrong_bytes", "SHA-256 is wrong"),
        ("compressed", "encoding that nobody asked for"),
        ("rubbish", "the connection broke"),
        ("busy_for_an_hour", "429 and asks to come back in 3600 s"),
        ("broken", "answers 500"),
        ("gone", "answers 404"),
        ("html", "HTML page, not with weights"),
        ("html_unlabelled", "HTML page, not with weights"),
        ("html_endless", "HTML page, not with weights"),
        ("confirm_for_ever", "HTML page, not with weights"),
        ("quota", "quota for this file is used up"),
        ("loop", "redirects more than 10 times"),
        ("to_http", "http://example.com/whole is not https"),
        ("to_file", "file:///etc/passwd is not https"),
        ("to_private_name", "router.local/whole is no public address"),
        ("to_plain_name", "intranet/whole is no public address"),
        ("to_address", "169.254.169.254/latest is no public address"),
        ("to_address_in_disguise", "no public address"),
        ("to_address_v6", "no public address"),
        ("to_password", "no public address"),
        ("to_nonsense", "makes no sense"),
    ],
)
def test_a_bad_source_is_named_with_its_reason_and_the_next_one_serves(
    switch, reason, spec_for, server, home, body, quick
):
    hasty = replace(quick, attempts=2)
    began = time.monotonic()
    with pytest.raises(WeightsError, match=reason) as caught:
        fetch(spec_for(switch), limits=hasty)
    assert time.monotonic() - began < 60  # no hang, on a busy machine either
    assert server.url(switch) in str(caught.value)
    assert "u2cut weights import FILE" in str(caught.value)
    assert str(home) in str(caught.value)
    assert not (home / "toy.pth").exists()
    part = home / "toy.pth.part"
    kept_bytes = part.read_bytes() if part.exists() else b""
    assert body.startswith(kept_bytes), "only true bytes are kept to go on from"

    path = fetch(spec_for(switch, "whole"), limits=hasty)
    assert path.read_bytes() == body
    assert kept(home) == {"toy.pth", "toy.pth.verified"}


@pytest.mark.parametrize("switch", ["whole", "wrong_start", "wrong_total", "unsatisfiable"])
def test_an_unfinished_download_ends_well_however_the_server_answers_the_range(
    switch, spec_for, server, home, body, quick
):
    home.mkdir(parents=True)
    (home / "toy.pth.part").write_bytes(body[:100_000])
    assert fetch(spec_for(switch), limits=quick).read_bytes() == body
    assert server.requests[0] == (f"/{switch}", "bytes=100000-")
    assert len(server.requests) == (1 if switch == "whole" else 2)


def test_an_unfinished_download_with_wrong_bytes_is_begun_again(
    spec_for, server, home, body, quick
):
    home.mkdir(parents=True)
    (home / "toy.pth.part").write_bytes(bytes(100_000))
    assert fetch(spec_for("whole"), limits=quick).read_bytes() == body
    assert [asked for _, asked in server.requests] == ["bytes=100000-", None]


@pytest.mark.parametrize("junk", [300_000, 400_000])
def test_an_unfinished_file_that_is_too_long_is_begun_again(junk, spec_for, home, body, quick):
    home.mkdir(parents=True)
    (home / "toy.pth.part").write_bytes(bytes(junk))
    assert fetch(spec_for("whole"), limits=quick).read_bytes() == body


def test_a_finished_download_that_was_never_put_in_place_needs_no_network(
    spec_for, server, home, body, quick
):
    home.mkdir(parents=True)
    (home / "toy.pth.part").write_bytes(body)
    assert fetch(spec_for("gone"), limits=quick).read_bytes() == body
    assert server.requests == []


def test_weights_of_unrecorded_length_are_judged_by_their_hash(spec_for, home, body, quick):
    assert fetch(spec_for("cut", size=None), limits=quick).read_bytes() == body
    (home / "toy.pth").unlink()
    for switch in ("too_much", "too_little", "wrong_bytes"):
        with pytest.raises(WeightsError, match="SHA-256 is wrong"):
            fetch(spec_for(switch, size=None), limits=quick)
        assert kept(home) <= {"toy.pth.verified"}


def test_a_source_that_gets_on_is_not_given_up(spec_for, server, body, quick):
    # Every connection breaks after 100,000 bytes, of which one whole chunk of 64 KiB is kept.
    fetch(spec_for("cut"), limits=quick)
    starts = [65_536 * k for k in range(1, 5)]
    assert [asked for _, asked in server.requests] == [None, *(f"bytes={s}-" for s in starts)]


def test_a_link_in_place_of_the_unfinished_file_is_not_written_through(
    spec_for, home, tmp_path, quick
):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    home.mkdir(parents=True)
    (home / "toy.pth.part").symlink_to(precious)
    with pytest.raises(WeightsError, match="can't be written to"):
        fetch(spec_for("whole"), limits=quick)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    "url", ["http://example.com/x.pth", "http://127.0.0.1:9/x.pth", "ftp://a.b"]
)
def test_plain_http_is_never_asked(url, spec_for):
    spec = with_urls(spec_for("whole"), url)
    with pytest.raises(WeightsError, match="is not https"):
        fetch(spec, limits=Limits())


def test_no_registered_source_is_anything_but_https():
    urls = [u for spec in registry.KNOWN.values() for form in spec.forms for u in form.urls]
    assert len(urls) == 11
    assert all(url.startswith("https://") for url in urls)


def test_the_proxy_from_the_environment_is_used(spec_for, server, body, quick, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url(""))
    spec = with_urls(spec_for("whole"), "http://127.0.0.1:9/whole")
    assert fetch(spec, limits=quick).read_bytes() == body
    assert server.requests == [("http://127.0.0.1:9/whole", None)]


def test_a_proxy_that_is_not_there_is_named(spec_for, quick, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="the proxy can't be reached"):
        fetch(spec_for("whole"), limits=replace(quick, attempts=1))


def test_a_name_that_nobody_knows_is_not_tried_twice(spec_for, quick, caplog):
    caplog.set_level("INFO", "u2cut")
    spec = with_urls(spec_for("whole"), "https://no-such-host.example.invalid/x")
    with pytest.raises(WeightsError, match="name can't be resolved"):
        fetch(spec, limits=replace(quick, answer=20))
    assert "trying again" not in caplog.text


def test_a_server_without_tls_is_not_spoken_to(server, quick):
    with pytest.raises(SourceError, match="no secure connection"):
        Answer(server.url("whole").replace("http:", "https:"), {}, quick, 5)


def test_a_server_that_takes_no_connection_costs_a_short_time(spec_for, quick):
    # With its queue of one full, Linux leaves further connections without any answer.
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        spec = with_urls(spec_for(), f"http://127.0.0.1:{full.getsockname()[1]}/")
        began = time.monotonic()
        with pytest.raises(WeightsError, match="no connection in time"):
            fetch(spec, limits=replace(quick, connect=0.3, answer=5, attempts=1))
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("processes", [2, 10])
def test_processes_at_once_download_once(processes, spec_for, server, home, body, quick):
    children = [child(spec_for("whole"), quick) for _ in range(processes)]
    for one in children:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, out.strip()) == (0, str(home / "toy.pth")), err
    assert len(server.requests) == 1
    assert (home / "toy.pth").read_bytes() == body


def test_a_killed_download_is_continued_by_the_next_run(spec_for, server, home, body, quick):
    patient = replace(quick, stall=30)
    killed = child(spec_for("stall"), patient)
    part = home / "toy.pth.part"
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= 65_536) and time.monotonic() < until:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    length = part.stat().st_size
    assert kept(home) == {"toy.pth.part"}
    assert fetch(spec_for("whole"), limits=quick).read_bytes() == body
    assert server.requests[-1] == ("/whole", f"bytes={length}-")
    assert 65_536 <= length <= 131_072


def test_an_interrupted_download_stops_at_once_and_is_continued(
    spec_for, server, home, body, quick
):
    interrupted = child(spec_for("stall"), replace(quick, stall=30))
    part = home / "toy.pth.part"
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= 65_536) and time.monotonic() < until:
        time.sleep(0.02)
    began = time.monotonic()
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert fetch(spec_for("whole"), limits=quick).read_bytes() == body
    assert server.requests[-1][1] is not None


def test_a_disk_that_fills_up_leaves_nothing_and_says_where(spec_for, home, quick):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
    process = child(spec_for("whole"), quick, before=limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"CacheError: {home}: can't be written to (File too large); make room there" in err
    assert kept(home) == set()


def test_a_disk_without_room_is_noticed_before_anything_is_fetched(spec_for, server, home, quick):
    with pytest.raises(WeightsError, match=r"MB more are needed in .* make room"):
        fetch(spec_for("whole", size=10**18), limits=quick)
    assert server.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_named(spec_for, home, quick):
    home.mkdir(parents=True)
    home.chmod(0o500)
    with pytest.raises(WeightsError, match=r"Permission denied.*U2CUT_HOME"):
        fetch(spec_for("whole"), limits=quick)


def test_a_cache_that_can_not_be_made_is_named(spec_for, server, home, quick):
    home.parent.write_text("a file where the folder belongs")
    with pytest.raises(WeightsError, match=r"can't be written to .*set U2CUT_HOME"):
        fetch(spec_for("whole"), limits=quick)
    assert server.requests == []


def test_the_wait_for_another_process_has_an_end(spec_for, quick):
    spec = spec_for("whole")
    with cache.lock(spec.name), pytest.raises(WeightsError, match="another process has been busy"):
        fetch(spec, limits=replace(quick, lock=0.2))


class TestAuto:
    """``--model auto`` has an answer at hand, so it never waits long for a better one."""

    @pytest.fixture(autouse=True)
    def _hurry(self, monkeypatch, quick):
        monkeypatch.setattr(download, "HURRIED", replace(quick, connect=0.5, reach=1.0))
        monkeypatch.setattr(download, "PATIENT", quick)

    @pytest.fixture
    def u2net(self, monkeypatch, spec_for):
        def serve(*switches):
            spec = spec_for(*switches, name="u2net")
            monkeypatch.setitem(registry.KNOWN, "u2net", spec)
            return spec

        return serve

    def test_fetches_the_best_when_it_can(self, u2net, home, body):
        u2net("whole")
        found = find("auto")
        assert (found.name, found.path, found.input_size) == ("u2net", home / "u2net.pth", 320)
        assert found.path.read_bytes() == body

    def test_goes_on_after_a_break_once_there_is_a_network(self, u2net):
        u2net("cut")
        assert find("auto").name == "u2net"

    def test_falls_back_with_one_warning_within_its_time(self, u2net, caplog):
        u2net("silent", "silent", "silent")
        began = time.monotonic()
        assert find("auto").name == "lite"
        assert time.monotonic() - began < 3
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "bundled 'lite'" in record.message
        assert "could not be fetched: no answer in time" in record.message
        assert "u2cut weights download u2net" in record.message
        assert "\n" not in record.message

    def test_does_not_wait_again_for_some_minutes(self, u2net, server, home):
        u2net("silent")
        assert find("auto").name == "lite"
        asked = len(server.requests)
        assert find("auto").name == "lite"
        assert len(server.requests) == asked
        long_ago = time.time() - 601
        os.utime(home / "u2net.unreachable", (long_ago, long_ago))
        assert find("auto").name == "lite"
        assert len(server.requests) > asked

    def test_asks_a_place_that_did_not_fail_at_once(self, u2net):
        u2net("gone")
        assert find("auto").name == "lite"
        u2net("gone", "whole")
        assert find("auto").name == "u2net"

    def test_by_name_tries_again_at_once_and_clears_the_note(self, u2net, home):
        u2net("silent")
        assert find("auto").name == "lite"
        u2net("whole")
        assert find("u2net").name == "u2net"
        assert not (home / "u2net.unreachable").exists()

    def test_a_resolver_that_hangs_is_not_waited_for(self, u2net, server, monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: server.over.wait(20))
        u2net("whole")
        began = time.monotonic()
        assert find("auto").name == "lite"
        assert time.monotonic() - began < 3

    def test_refused_connections_cost_no_time(self, u2net, monkeypatch):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        monkeypatch.setitem(
            registry.KNOWN, "u2net", with_urls(u2net(), *[f"{closed}{k}" for k in range(3)])
        )
        began = time.monotonic()
        assert find("auto").name == "lite"
        assert time.monotonic() - began < 1

    def test_a_name_is_an_error_when_it_can_not_be_had(self, u2net):
        u2net("gone")
        with pytest.raises(WeightsError, match="answers 404"):
            find("u2net")

    @pytest.mark.parametrize("by_environment", [True, False])
    def test_offline_asks_nobody(self, by_environment, u2net, server, monkeypatch, caplog):
        u2net("whole")
        if by_environment:
            monkeypatch.setenv("U2CUT_OFFLINE", "1")
        assert find("auto", offline=not by_environment).name == "lite"
        assert "u2cut is offline" in caplog.text
        with pytest.raises(WeightsError, match="u2cut weights import FILE"):
            find("u2net", offline=not by_environment)
        assert server.requests == []

    def test_offline_takes_what_is_cached(self, u2net, server):
        u2net("whole")
        find("u2net")
        assert find("auto", offline=True).name == "u2net"
        assert len(server.requests) == 1

    def test_a_damaged_copy_is_fetched_again(self, u2net, home, body, caplog):
        spec = u2net("whole")
        path = find("auto").path
        path.write_bytes(body[:-1] + b"?")
        assert hashlib.sha256(find("auto").path.read_bytes()).hexdigest() == spec.forms[0].sha256
        assert "is damaged" in caplog.text

    def test_a_damaged_copy_is_never_used_offline(self, u2net, body):
        u2net("whole")
        find("auto").path.write_bytes(body[:-1])
        assert find("auto", offline=True).name == "lite"
        with pytest.raises(WeightsError, match="offline"):
            find("u2net", offline=True)
