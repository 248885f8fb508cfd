"""`pqmim serve`: a page to try the codec on."""

import argparse
import socket
from contextlib import suppress
from typing import Any

from pqmim.cli import values
from pqmim.cli.messages import say, warn
from pqmim.cli.options import add_codec_options, add_limit_option, add_verb, extra_packages, open_codec
from pqmim.errors import PqmimError

PORT = 8123
CONNECTIONS = 32  # at once; each may hold a photo of 32 MB in memory while it waits for its turn

DETAILS = """\
Drop a photo, choose a quality or a size, compare it with WebP and AVIF at equal bytes, watch it
arrive, share it as a QR code or as a link that carries the file itself. Only this machine can
reach the page, unless --host says otherwise; pictures are worked on in memory and kept nowhere.

examples:
  pqmim serve
  pqmim serve --port 9000 --max-pixels 4M
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "serve",
        summary="open a page to try the codec on",
        usage="pqmim serve [options]",
        details=DETAILS,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=values.port, default=PORT, metavar="N", help=f"port to listen on (default: {PORT})"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    add_limit_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    with extra_packages("serve"):
        import uvicorn

        from pqmim.integrations.serve import Limits, make_app

    limits = Limits(max_pixels=args.max_pixels) if args.max_pixels else Limits()
    host = args.host.strip("[]")
    with listening(host, args.port) as port:
        warn("loading the weights ...")
        app = make_app(open_codec(args), limits, hosts=[host])
        address = address_of(host, args.port)
        say(f"{address} is ready; control-C stops it")
        if args.open:
            import webbrowser

            webbrowser.open(address)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", limit_concurrency=CONNECTIONS))
        with suppress(KeyboardInterrupt):  # which is how it is stopped
            server.run(sockets=[port])
    return 0 if server.started else 1


def listening(host: str, port: int) -> socket.socket:
    """A socket to which browsers can connect already.

    Raises:
        PqmimError: the port is taken or not allowed, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python adds the address, which is the subject here
        raise PqmimError(f"cannot be listened on: {reason}", address_of(host, port)) from error


def address_of(host: str, port: int) -> str:
    """Where a browser on this machine finds a page that listens on `host`, which may be all addresses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
