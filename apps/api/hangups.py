"""Notices that the client of a waiting request has gone: its answer would reach nobody."""

from __future__ import annotations

import socket

from django.http import HttpRequest

PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


def has_hung_up(http: HttpRequest) -> bool:
    """Whether the connection was closed at the other end; False where the server does not show it.

    gunicorn hands its socket over. A proxy in front closes its connection when its client does. A client that
    closes only its sending half is taken for gone, as proxies do.
    """
    connection = http.META.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return False
    try:
        return not connection.recv(1, PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except ValueError:
        # A TLS socket cannot be peeked into; writing to it will tell.
        return False
    except OSError:
        return True
