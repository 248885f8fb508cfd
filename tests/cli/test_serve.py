"""The page: its port is there before it is announced."""

import socket

import pytest

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")


def test_a_port_that_is_taken_is_one_sentence(run, here, codec):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = run("serve", "--port", port)
    assert (status, out, codec.opened) == (1, b"", [])
    assert err.startswith(f"pqmim: http://127.0.0.1:{port}/: cannot be listened on: ") and err.count("\n") == 1


def test_the_page_can_be_reached_when_it_is_announced(run, here, monkeypatch):
    def serve(self, sockets):
        address = sockets[0].getsockname()
        socket.create_connection(address).close()
        found.append(address)
        self.started = True
        raise KeyboardInterrupt

    found = []
    monkeypatch.setattr(uvicorn.Server, "run", serve)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    status, out, _ = run("serve", "--port", port)
    assert (status, found) == (0, [("127.0.0.1", port)])
    assert out.decode() == f"http://127.0.0.1:{port}/ is ready; control-C stops it\n"
