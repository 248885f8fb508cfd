import asyncio
import io
import json
import re
import socket
import threading
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from pqmim.bitstream.container import read, write
from pqmim.bitstream.header import Header
from pqmim.cli import main
from pqmim.cli.serve import address_of
from pqmim.errors import PqmimError
from pqmim.image.picture import read_picture
from pqmim.integrations.serve import Limits, make_app
from pqmim.integrations.serve.app import PAGE
from pqmim.integrations.serve.guard import Bodies
from pqmim.integrations.serve.rivals import at_size
from pqmim.results import Encoded, Received, Rendered

POST = {"Content-Type": "application/octet-stream"}


class FakeCodec:
    """Its pictures are as red as the file is long; it notices when two threads work at once."""

    def __init__(self):
        self.options, self.busy = {}, threading.Lock()

    def encode(self, image, quality=50, **options):
        self.options = {"quality": quality} | options
        with _alone(self.busy):
            height, width = read_picture(image).rgb.shape[:2]
            header = Header(width, height, quality, 1, framed=False)
            return Encoded(write(header, bytes(20), {}, b""), width, height, quality, notes=("näh",))

    def empty(self, width, height):
        header = Header(width, height, 40, 1)
        return Received(header, np.zeros((1, 1), np.uint8), np.zeros((1, 1), bool), 1)

    def receive(self, data, max_pixels=None):
        container = read(data)
        codes = np.full((1, 2), len(container.payload), np.uint8)
        return Received(container.header, codes, codes > 9, 1)

    def render(self, received, look=0.0):
        with _alone(self.busy):
            size = (received.header.width, received.header.height)
            return Rendered(Image.new("RGB", size, (int(received.codes[0, 0]), int(100 * look), 0)))


class _alone:
    def __init__(self, lock):
        self.lock = lock

    def __enter__(self):
        assert self.lock.acquire(blocking=False)

    def __exit__(self, *error):
        self.lock.release()


@pytest.fixture
def codec():
    return FakeCodec()


@pytest.fixture
def client(codec):
    app = make_app(codec, Limits(max_bytes=100_000, max_pixels=10_000))
    return TestClient(app, base_url="http://127.0.0.1:8123")


def photo(width=24, height=16) -> bytes:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_page_needs_nothing_from_elsewhere(client):
    for path in ("/", "/page.css", "/page.js", "/icon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' blob: data:") and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    assert "<script>" not in client.get("/").text and "style=" not in client.get("/").text


def test_every_control_of_the_page_is_used():
    page, script = (PAGE / "index.html").read_text(), (PAGE / "page.js").read_text()
    used = set(re.findall(r'\$\("([\w-]+)"\)', script)) | set(re.findall(r'show\("([\w-]+)"', script))
    there = set(re.findall(r'id="([\w-]+)"', page))
    assert used <= there
    assert {"amount", "look", "divider", "arrived", "watch", "share", "save", "code", "another", "file"} <= used


def test_a_photo_to_a_file_and_back(client, codec):
    answer = client.post("/api/encode?quality=30", content=photo(), headers=POST)
    assert answer.status_code == 200
    facts = json.loads(answer.headers["x-facts"])
    assert (facts["width"], facts["height"], facts["quality"], facts["notes"]) == (24, 16, 30, ["näh"])
    assert codec.options == {"quality": 30, "max_pixels": 10_000}
    client.post("/api/encode?size=200&effort=0", content=photo(), headers=POST)
    assert codec.options == {"quality": 50, "size": 200, "effort": 0, "max_pixels": 10_000}
    for count, look in ((20, 0), (13, 1)):
        data = answer.content[: len(answer.content) - 20 + count]
        picture = client.post(f"/api/decode?look={look}", content=data, headers=POST)
        assert Image.open(io.BytesIO(picture.content)).getpixel((0, 0)) == (count, 100 * look, 0)


def test_rivals_take_no_more_bytes(client):
    for name in client.get("/api/about").json()["rivals"]:
        answer = client.post(f"/api/rival?name={name}&size=900", content=photo(), headers=POST)
        facts = json.loads(answer.headers["x-facts"])
        assert facts["bytes"] == len(answer.content) and (facts["bytes"] <= 900 or facts["quality"] == 0)
        assert Image.open(io.BytesIO(answer.content)).size == (24, 16)


def test_looks_are_offered_where_there_are_some(client, codec, monkeypatch):
    assert client.get("/api/about").json()["looks"] is True

    def render(received, look=0.0):
        raise PqmimError("no look belongs to these weights")

    monkeypatch.setattr(codec, "render", render)
    assert client.get("/api/about").json()["looks"] is False


def test_qr(client):
    pytest.importorskip("segno")
    answer = client.post("/api/qr", content=b"\xd1" + bytes(199), headers=POST)
    assert answer.headers["content-type"] == "image/svg+xml" and b"<svg" in answer.content


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("encode", b"no picture", 422),
        ("encode", b"", 400),
        ("encode?quality=many", b"a", 400),
        ("encode?quality=500", photo(), 422),
        ("encode", photo(200, 100), 413),
        ("encode", bytes(100_001), 413),
        ("decode", b"no file", 422),
        ("decode?look=vivid", b"a", 422),
        ("rival?name=bmp&size=100", photo(), 404),
        ("rival?name=jpeg", photo(), 400),
        ("rival?name=jpeg&size=900", photo(200, 100), 413),
        ("qr", bytes(5000), 422),
    ],
)
def test_what_is_wrong_is_one_sentence(client, path, body, status):
    answer = client.post(f"/api/{path}", content=body, headers=POST)
    assert answer.status_code == status
    assert answer.json()["error"] and "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["encode", "rival?name=jpeg&size=900"])
def test_whatever_a_plug_in_raises_is_one_sentence(client, path, monkeypatch):
    def opened(*words, **options):
        raise RuntimeError("Missing or empty image item")  # as Pillow's does over damaged AVIF files

    monkeypatch.setattr(Image, "open", opened)
    answer = client.post(f"/api/{path}", content=photo(), headers=POST)
    assert (answer.status_code, answer.json()["error"]) == (422, "damaged or cut short (Missing or empty image item)")


def test_rivals_take_as_many_pixels_as_the_codec(client, monkeypatch):
    monkeypatch.setattr("pqmim.image.limits.MAX_PIXELS", 100)  # which holds where no limit is named
    assert client.post("/api/rival?name=jpeg&size=900", content=photo(), headers=POST).status_code == 200


def test_strangers_are_refused(client):
    def ask(**headers):
        return client.post("/api/encode", content=photo(), headers=POST | headers).status_code

    assert ask(Origin="http://127.0.0.1:8123") == 200
    assert ask(Origin="http://127.0.0.1:9999") == 403
    assert ask(Origin="https://example.org") == 403
    assert ask(Origin="null") == 403
    assert ask(**{"Sec-Fetch-Site": "cross-site"}) == 403
    assert ask(Host="example.org") == 400
    assert ask(**{"Content-Type": "text/plain"}) == 415
    assert client.get("/api/encode").status_code == 405
    assert client.get("/../app.py").status_code == 404


def test_requests_wait_for_each_other(client):
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(client.post("/api/encode", content=photo(), headers=POST).status_code)
        )
        for _ in range(6)
    ]
    with client:  # so that all are served by one loop
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 6


def test_nothing_is_done_for_a_browser_that_has_gone(codec):
    """Two requests over real connections, of which the second is given up while the first is worked on."""
    uvicorn = pytest.importorskip("uvicorn")
    started, go_on, done = threading.Event(), threading.Event(), []

    def encode(image, **options):
        started.set()
        assert go_on.wait(60)
        done.append(options["quality"])
        return FakeCodec().encode(image)

    codec.encode = encode
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = port.getsockname()
        server = uvicorn.Server(uvicorn.Config(make_app(codec), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [port]}, daemon=True)
        thread.start()
        first = asking(address, 10)
        assert started.wait(60)
        asking(address, 20).close()
        last = asking(address, 30)
        while len(server.server_state.tasks) < 3:
            time.sleep(0.01)
        go_on.set()
        assert first.recv(12) == last.recv(12) == b"HTTP/1.1 200"
        first.close()
        last.close()
        server.should_exit = True
        thread.join()
    assert done == [10, 30]


def asking(address, quality) -> socket.socket:
    """A connection on which a photo was sent to be encoded."""
    body, connection = photo(), socket.create_connection(address, 60)
    head = f"POST /api/encode?quality={quality} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {POST['Content-Type']}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def asked_of(hosts, host):
    client = TestClient(make_app(FakeCodec(), hosts=hosts), base_url="http://127.0.0.1:8123")
    return client.get("/page.css", headers={"Host": host}).status_code


def test_the_page_answers_to_its_names_alone():
    for host in ("127.0.0.1:8123", "localhost", "LOCALHOST:1", "[::1]:8123"):
        assert asked_of([], host) == 200
    assert asked_of(["fe80::7"], "[fe80::7]:8123") == asked_of(["Box.example"], "box.example:8123") == 200
    for host in ("10.0.0.7:8123", "[fe80::7]", "example.org", "", "[", "127.0.0.1.example.org"):
        assert asked_of([], host) == 400


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_page_for_all_addresses_answers_to_each_of_them_and_to_no_foreign_name(everywhere, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Box")
    for host in ("10.0.0.7:8123", "[fe80::7]:8123", "box:8123"):
        assert asked_of([everywhere], host) == 200
    for host in ("example.org:8123", "", "10.0.0.7.example.org"):
        assert asked_of([everywhere], host) == 400


def test_the_address_of_the_page():
    assert address_of("127.0.0.1", 8123) == address_of("0.0.0.0", 8123) == "http://127.0.0.1:8123/"
    assert address_of("::1", 1) == address_of("::", 1) == "http://[::1]:1/"


@pytest.mark.parametrize("port", ["0", "70000", "a"])
def test_ports_that_there_are_not(port, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["serve", "--port", port])
    assert stop.value.code == 2 and "whole number from 1 to 65535" in capsys.readouterr().err


def test_formats_that_are_not_read_are_not_opened(client, monkeypatch):
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100)).save(buffer, "PCX")
    answer = client.post("/api/encode", content=buffer.getvalue(), headers=POST)
    assert answer.status_code == 422 and "not an image of a format that is read" in answer.json()["error"]


def test_bodies_that_wait_have_a_limit_in_all_and_make_room_when_answered():
    def request(size: int) -> Request:
        async def receive():
            return {"type": "http.request", "body": bytes(size), "more_body": False}

        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def story() -> None:
        bodies = Bodies(Limits(max_bytes=60, max_held=100))
        async with bodies.of(request(60)) as first:
            assert len(first) == 60
            with pytest.raises(HTTPException) as refused:
                async with bodies.of(request(41)):
                    pytest.fail("there was no room")
            assert refused.value.status_code == 503
            async with bodies.of(request(40)) as second:
                assert len(second) == 40
        async with bodies.of(request(60)):
            pass
        with pytest.raises(HTTPException) as refused:
            async with bodies.of(request(61)):
                pytest.fail("that is too long")
        assert refused.value.status_code == 413

    asyncio.run(story())


def test_a_rival_takes_its_best_quality_where_there_is_room():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    assert at_size(image, "jpeg", 10**6).quality == 100
    assert at_size(image, "jpeg", 1).quality == 0


def test_an_origin_that_is_no_address_is_a_stranger(client):
    answer = client.post("/api/encode", content=photo(), headers=POST | {"Origin": "http://["})
    assert answer.status_code == 403


def test_a_picture_that_a_rival_cannot_hold(client, monkeypatch):
    def save(self, *words, **options):
        raise OSError("encoder error -2")

    data = photo()
    monkeypatch.setattr(Image.Image, "save", save)
    answer = client.post("/api/rival?name=jpeg&size=900", content=data, headers=POST)
    assert answer.status_code == 422
    assert answer.json()["error"] == "jpeg cannot hold this picture: encoder error -2"


def test_a_body_is_held_once():
    async def held() -> int:
        class Sending:
            async def stream(self):
                for _ in range(64):
                    yield bytes(100_000)

        tracemalloc.start()
        try:
            async with Bodies(Limits(max_bytes=10**7, max_held=10**7)).of(Sending()) as body:
                assert len(body) == 6_400_000
                return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert asyncio.run(held()) < 1.2 * 6_400_000
