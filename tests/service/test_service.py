"""The service over real sockets: what it answers, what it refuses, and how it ends."""

import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from tests.pictures import disc_photo
from tests.service.conftest import NETWORK, Server
from u2cut.options import EdgeOptions, Matting, NetworkOptions, OutputOptions, RenderOptions
from u2cut.service import server
from u2cut.service.options import ServeOptions


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(disc_photo()).save(file, "PNG")
    return file.getvalue()


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def test_the_service_cuts_out_what_the_command_does(
    server: Server, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(photo)
    command = [sys.executable, "-m", "u2cut", "remove", tmp_path / "a.png", *NETWORK, "-q"]
    subprocess.run([*command, "-o", tmp_path / "out.png"], check=True)
    expected = (tmp_path / "out.png").read_bytes()
    raw = server.post("/v1/remove", data=photo)
    form = server.post("/v1/remove", files={"image": photo})
    typed = server.post("/v1/remove", data=photo, headers={"Content-Type": "image/png"})
    curl = {"Content-Type": "application/x-www-form-urlencoded"}
    called = server.post("/v1/remove", data=photo, headers=curl)
    for answer in (raw, form, typed, called):
        assert answer.status_code == 200, answer.text
        assert answer.content == expected
        assert answer.headers["Content-Type"] == "image/png"
        assert (answer.headers["X-Width"], answer.headers["X-Height"]) == ("128", "96")
        assert "network;dur=" in answer.headers["Server-Timing"]
        assert 0 < float(answer.headers["X-Confidence"]) <= 1


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"background": "white"}, lambda p: p.shape[2] == 3 and p[0, 0].tolist() == [255] * 3),
        ({"crop": "true"}, lambda p: p.shape[0] < 96),
        ({"crop": "true", "crop-margin": "10"}, lambda p: p.shape[1] < 110),
        ({"canvas": "64x64"}, lambda p: p.shape[:2] == (64, 64)),
        ({"threshold": "0.5"}, lambda p: set(np.unique(p[..., 3])) == {0, 255}),
        ({"format": "webp"}, lambda p: p.shape == (96, 128, 4)),
        ({"erode": "8"}, lambda p: (p[..., 3] > 0).mean() < 0.2),
    ],
)
def test_fields_are_named_like_the_options(
    server: Server, photo: bytes, fields: dict[str, str], changed: Callable[[np.ndarray], bool]
) -> None:
    plain = opened(server.post("/v1/remove", files={"image": photo}).content)
    assert not changed(plain) or "format" in fields
    for answer in (
        server.post("/v1/remove", files={"image": photo}, data=fields),
        server.post("/v1/remove", data=photo, params=fields),
    ):
        assert answer.status_code == 200, answer.text
        assert changed(opened(answer.content))


def test_a_mask_and_a_background_picture(server: Server, photo: bytes) -> None:
    hard = opened(server.post("/v1/mask", data=photo).content)
    assert set(np.unique(hard)) == {0, 255}
    soft = opened(server.post("/v1/mask", data=photo, params={"alpha": "1"}).content)
    assert len(np.unique(soft)) > 2
    inverted = opened(server.post("/v1/mask", data=photo, params={"invert": "1"}).content)
    assert np.array_equal(inverted, 255 - hard)
    green = io.BytesIO()
    Image.new("RGB", (10, 10), (0, 255, 0)).save(green, "PNG")
    files = {"image": photo, "background_image": green.getvalue()}
    placed = opened(server.post("/v1/remove", files=files).content)
    assert placed[0, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"data": b""}, 400, "usage"),
        ({"data": b"no picture at all"}, 422, "input"),
        ({"params": {"treshold": "1"}}, 400, "usage"),
        ({"params": {"threshold": "7"}}, 400, "usage"),
        ({"params": {"threshold": "nan"}}, 400, "usage"),
        ({"params": {"crop": "perhaps"}}, 400, "usage"),
        ({"params": {"background": "nocolour"}}, 400, "usage"),
        ({"params": {"format": "jpg"}}, 400, "usage"),
        ({"params": {"background_image": "/etc/passwd"}}, 400, "usage"),
        ({"params": {"output": "/tmp/x"}}, 400, "usage"),
        ({"params": {"url": "http://127.0.0.1/"}, "data": None}, 403, "urls_not_allowed"),
        ({"data": b"x" * 2_000_001}, 413, "too_large"),
        ({"data": iter([b"x" * 500_000] * 5)}, 413, "too_large"),  # chunked: no length
    ],
)
def test_what_is_wrong_is_a_problem_with_its_code(
    server: Server, photo: bytes, request_: dict[str, object], status: int, code: str
) -> None:
    answer = server.post("/v1/remove", **{"data": photo, **request_})
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    assert "Traceback" not in server.said


def test_a_long_body_is_refused_before_it_is_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = "POST /v1/remove HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_long(server: Server) -> None:
    """The limit of this server is 2 MB; the length is announced to no one."""
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = "POST /v1/remove HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        connection.settimeout(0.2)
        answer = b""
        while sent < 33_000_000 and not answer:
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.sendall(chunk)
                sent += 0x10000
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                answer = connection.recv(100)
            connection.settimeout(0.2)
            time.sleep(0.001)
    assert answer.startswith(b"HTTP/1.1 413")
    assert sent < 8_000_000  # the limit, what is read on for the answer's sake, and buffers


def test_a_photo_with_too_many_pixels_is_refused(serving: Callable[..., Server]) -> None:
    small = serving("--max-pixels", "10K")
    file = io.BytesIO()
    Image.new("RGB", (101, 100)).save(file, "PNG")
    answer = small.post("/v1/remove", data=file.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (422, "input")
    assert small.end() == 0


def test_photos_wait_for_room_in_pixels(
    serving: Callable[..., Server], photo: bytes, heavy: bytes
) -> None:
    server = serving("--queue-pixels", "1K", "--max-body", "100M", "--jobs", "4")
    ended: list[str] = []

    def ask(name: str, data: bytes) -> None:
        with requests.Session() as http:
            http.trust_env = False
            http.post(f"{server.address}/v1/remove", data=data, timeout=60)
        ended.append(name)

    large = threading.Thread(target=ask, args=("large", heavy))
    large.start()
    deadline = time.monotonic() + 20
    while not server.metric("u2cut_pixels_held"):
        assert time.monotonic() < deadline
    ask("small", photo)
    large.join()
    assert ended == ["large", "small"]
    assert server.metric("u2cut_pixels_held") == 0


def test_states_and_metrics(server: Server, photo: bytes) -> None:
    assert server.get("/healthz").text == "ok\n"
    assert server.get("/readyz").text == "ok\n"
    before = server.metric('u2cut_requests_total{code="200",route="/v1/remove"}')
    pixels = server.metric("u2cut_pixels_total")
    server.post("/v1/remove", data=photo)
    assert server.metric('u2cut_requests_total{code="200",route="/v1/remove"}') == before + 1
    assert server.metric("u2cut_pixels_total") == pixels + 128 * 96
    assert (
        'u2cut_engine_info{device="cpu",engine="torch",model="u2netp"'
        in server.get("/metrics").text
    )
    assert server.metric("u2cut_requests_under_way") == 0


def test_the_description_names_every_field(server: Server) -> None:
    described = server.get("/openapi.json").json()
    content = described["paths"]["/v1/remove"]["post"]["requestBody"]["content"]
    named = content["multipart/form-data"]["schema"]["properties"]
    assert {"image", "matting", "background", "crop_margin", "strip", "canvas"} <= named.keys()
    assert not {"output", "overwrite", "skip_existing"} & named.keys()


def test_many_clients_get_pictures_or_503_with_when_to_come_back(
    serving: Callable[..., Server], photo: bytes
) -> None:
    busy = serving("--queue", "4")
    answers: list[tuple[int, str | None]] = []

    def ask() -> None:
        with requests.Session() as http:
            http.trust_env = False
            answer = http.post(f"{busy.address}/v1/remove", data=photo, timeout=60)
        answers.append((answer.status_code, answer.headers.get("Retry-After")))

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {(200, None), (503, "1")}
    assert (200, None) in answers
    assert (503, "1") in answers
    assert busy.metric('u2cut_rejected_total{code="busy"}') == answers.count((503, "1"))
    assert busy.post("/v1/remove", data=photo).status_code == 200


def test_ending_answers_what_was_admitted(serving: Callable[..., Server], photo: bytes) -> None:
    server = serving("--matting", "best")
    codes: list[int] = []
    thread = threading.Thread(
        target=lambda: codes.append(server.post("/v1/remove", data=photo).status_code)
    )
    thread.start()
    deadline = time.monotonic() + 20
    while not server.metric("u2cut_requests_under_way") and thread.is_alive():
        assert time.monotonic() < deadline
    assert server.end(signal.SIGTERM) == 0
    thread.join()
    assert codes == [200]


def test_a_client_that_went_costs_no_network(serving: Callable[..., Server], photo: bytes) -> None:
    server = serving("--jobs", "1")
    noise = np.random.default_rng(0).integers(0, 255, (2500, 2500, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=1)  # takes a while to decode
    data = file.getvalue()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"POST /v1/remove HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}"
            connection.sendall(f"{head}\r\n\r\n".encode() + data)
    deadline = time.monotonic() + 30
    while server.metric("u2cut_requests_under_way"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    done = server.metric('u2cut_stage_seconds_count{stage="network"}')
    assert done == 0
    assert server.post("/v1/remove", data=photo).status_code == 200


@pytest.fixture(scope="module")
def heavy() -> bytes:
    """A photo that takes seconds."""
    file = io.BytesIO()
    Image.fromarray(disc_photo()).resize((7000, 5250)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_a_photo_that_takes_too_long_is_given_up_and_holds_nobody(
    serving: Callable[..., Server], photo: bytes, heavy: bytes
) -> None:
    server = serving("--timeout", "1", "--max-body", "100M", "--jobs", "2", "--matting", "best")
    answers: list[int] = []
    thread = threading.Thread(
        target=lambda: answers.append(server.post("/v1/remove", data=heavy).status_code)
    )
    thread.start()
    quick = server.post("/v1/remove", data=photo, params={"matting": "none"})
    thread.join()
    assert quick.status_code == 200
    assert answers == [504]


def test_the_end_waits_no_longer_than_the_grace(
    serving: Callable[..., Server], heavy: bytes
) -> None:
    server = serving("--grace", "1", "--max-body", "100M", "--matting", "best")

    def ask() -> None:
        with contextlib.suppress(requests.RequestException):
            server.post("/v1/remove", data=heavy)

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.metric("u2cut_requests_under_way"):
        assert time.monotonic() < deadline
    start = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - start < 15
    thread.join()


def test_addresses_are_fetched_where_that_is_allowed_but_not_from_this_machine(
    serving: Callable[..., Server],
) -> None:
    server = serving("--allow-urls", "--compat", "removebg", "--compat", "rembg")
    own = f"{server.address}/healthz"
    for url in (own, "http://127.0.0.1/a.jpg", "http://[::1]/a.jpg", "file:///etc/passwd"):
        answer = server.post("/v1/remove", params={"url": url})
        assert answer.json()["code"] in ("forbidden_url", "invalid_url")
    called = server.post("/v1.0/removebg", data={"image_url": "http://127.0.0.1/"})
    assert called.json()["errors"][0]["code"] == "invalid_image_url"
    assert server.get("/api/remove", params={"url": "http://localhost/"}).status_code == 403


def test_only_who_knows_the_token_comes_in(
    serving: Callable[..., Server], photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-long-secret\n")
    server = serving("--token-file", tmp_path / "token")
    for headers in ({}, {"X-Api-Key": "wrong"}, {"Authorization": "Bearer a-long-secre"}):
        answer = server.post("/v1/remove", data=photo, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    for headers in ({"X-Api-Key": "a-long-secret"}, {"Authorization": "Bearer a-long-secret"}):
        assert server.post("/v1/remove", data=photo, headers=headers).status_code == 200
    assert server.get("/metrics").status_code == 401
    assert server.get("/healthz").status_code == 200


def test_other_sites_pages_are_kept_out(server: Server, photo: bytes) -> None:
    rebound = server.post("/v1/remove", data=photo, headers={"Host": "evil.example"})
    assert (rebound.status_code, rebound.json()["code"]) == (403, "forbidden_host")
    other = server.post("/v1/remove", data=photo, headers={"Origin": "https://evil.example"})
    assert (other.status_code, other.json()["code"]) == (403, "forbidden_origin")
    own = server.post("/v1/remove", data=photo, headers={"Origin": server.address})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    assert own.headers["X-Content-Type-Options"] == "nosniff"


def test_a_named_origin_may_come_in(serving: Callable[..., Server], photo: bytes) -> None:
    server = serving("--cors", "https://shop.example", "--no-page")
    answer = server.post("/v1/remove", data=photo, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert server.get("/").status_code == 404


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--port", "1"], 4, "can't listen"),
        (["--token-file", "nowhere"], 3, "nowhere"),
        (["--max-body", "much"], 2, "no amount"),
        (["--queue", "0"], 2, "--queue"),
    ],
)
def test_a_service_that_can_not_begin_says_why(words: list[str], code: int, said: str) -> None:
    taken = socket.socket()
    if words[0] == "--port":
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["--port", str(taken.getsockname()[1])]
    command = [sys.executable, "-m", "u2cut", "serve", *words, *NETWORK]
    with taken:
        done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_an_open_door_is_warned_about(serving: Callable[..., Server]) -> None:
    server = serving("--host", "0.0.0.0")
    assert "whoever reaches 0.0.0.0 may use this service; --token-file" in server.said
    assert server.end(signal.SIGINT) == 0


def test_without_its_packages_the_extra_is_named() -> None:
    code = (
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'uvicorn' else real(n, *a)\n"
        "from u2cut.cli.app import run\n"
        "sys.exit(run(['serve']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "u2cut[serve]" in done.stderr) == (6, True), done.stderr


def test_the_page_needs_no_other_host(server: Server) -> None:
    page = server.get("/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    texts = [server.get(f"/{name}").text for name in ("", "app.js", "style.css", "zip.js")]
    for text in texts:
        assert "//" not in text.replace("// ", "").replace("http://", "HTTP") or "https" not in text
        assert "https:" not in text


def test_json_is_understood(server: Server, photo: bytes) -> None:
    import base64

    body = {"image_file_b64": base64.b64encode(photo).decode(), "size": "auto", "format": "png"}
    answer = server.post("/v1.0/removebg", data=json.dumps(body),
                         headers={"Content-Type": "application/json"})  # fmt: skip
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("matting", list(Matting))
def test_what_its_matting_needs_is_opened_before_the_first_request(
    monkeypatch: pytest.MonkeyPatch, matting: Matting
) -> None:
    class Opened(Exception):
        pass

    def predictor(network: NetworkOptions, *, quiet: bool, method: Matting) -> None:
        raise Opened(method)

    monkeypatch.setattr(server, "Predictor", predictor)
    render = RenderOptions(edge=EdgeOptions(matting=matting))
    options = ServeOptions(port=0)
    with pytest.raises(Opened) as opened:
        server.serve(options, NetworkOptions(), render, OutputOptions())
    assert opened.value.args == (matting,)
