# ruff: noqa: N999  # the name that gunicorn looks for
"""gunicorn's settings for the web process; the supervisor and the systemd unit both use this file.

gthread, not an event loop: a request that waits for its image costs a sleeping thread and no connection, and
everything else stays plain Django.
"""

from __future__ import annotations

import os

_address = os.environ.get("DARKROOM_BIND") or "127.0.0.1"
_port = os.environ.get("DARKROOM_PORT") or "8000"

bind = [f"[{_address}]:{_port}" if ":" in _address else f"{_address}:{_port}"]
worker_class = "gthread"
workers = int(os.environ.get("DARKROOM_WEB_WORKERS") or 2)
# Threads start when they are needed; each waiting request holds one. Keep above DARKROOM_MAX_WAITERS.
threads = int(os.environ.get("DARKROOM_WEB_THREADS") or 1000)
worker_connections = threads + 200
backlog = 2048
# A worker whose main loop is silent for this long is replaced; requests may take as long as they like.
timeout = 60
# Requests that are still running when the web process stops get this long.
graceful_timeout = 10
keepalive = 15
# The application writes one structured line a request; a second one here would say less.
accesslog = None
errorlog = "-"
loglevel = "warning"
if os.environ.get("DARKROOM_LOG_FORMAT") == "json":
    # Its own few lines like those of the application; what is not said here is gunicorn's default.
    logconfig_dict = {
        "formatters": {"generic": {"()": "apps.core.logging.JsonFormatter"}},
        "root": {"level": "WARNING", "handlers": []},
        "loggers": {
            "gunicorn.error": {"level": "WARNING", "handlers": ["error_console"], "propagate": False},
            "gunicorn.access": {"level": "WARNING", "handlers": ["error_console"], "propagate": False},
        },
    }
# A control socket in the home folder would be one more way in.
control_socket_disable = True
# Heartbeat files in memory: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # a folder, not a file name
