"""The page: its port is there before it is announced."""

import errno
import os
import socket

import pytest

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")


def test_a_port_that_is_taken_is_one_sentence(run, here, codec):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = run("serve", "--port", port)
    assert (status, out, codec.opened) == (1, b"", [])
    reason = os.strerror(errno.EADDRINUSE)
    assert err == f"pqmim: http://127.0.0.1:{port}/: cannot be listened on: {reason}.\n"


def test_a_host_that_is_none(run, here):
    status, _, err = run("serve", "--host", "999.1.1.1")
    assert status == 1 and err.startswith("pqmim: http://999.1.1.1:8123/: cannot be listened on: ") and "(" not in err


def test_the_page_can_be_reached_when_it_is_announced_and_by_so_many_at_once(run, here, monkeypatch):
    def serve(self, sockets):
        address = sockets[0].getsockname()
        socket.create_connection(address).close()
        found.append((*address, self.config.limit_concurrency))
        self.started = True
        raise KeyboardInterrupt

    found = []
    monkeypatch.setattr(uvicorn.Server, "run", serve)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    status, out, _ = run("serve", "--port", port)
    assert (status, found) == (0, [("127.0.0.1", port, 32)])
    assert out.decode() == f"http://127.0.0.1:{port}/ is ready; control-C stops it\n"
