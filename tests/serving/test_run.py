"""Where a server listens."""

from __future__ import annotations

import socket

import pytest

from qa_lightning.serving.run import address, bind_socket
from qa_lightning.utils.errors import UserError


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70_000, "there is no port 70000; choose another --port, up to 65535"),
        ("127.0.0.1", -1, "there is no port -1"),
        ("not.a.host.invalid", 0, r"cannot listen on not\.a\.host\.invalid, port 0 .*; choose another"),
        ("192.0.2.1", 0, r"cannot listen on 192\.0\.2\.1, port 0 .*; choose another"),
    ],
)
def test_a_place_that_is_none_is_refused(host: str, port: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bind_socket(host, port).close()


def test_the_address_is_one_that_a_browser_can_open() -> None:
    with bind_socket("0.0.0.0", 0) as everywhere:
        assert address(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}"
    if socket.has_ipv6:
        with bind_socket("::1", 0) as sixth:
            assert address(sixth) == f"http://[::1]:{sixth.getsockname()[1]}"
