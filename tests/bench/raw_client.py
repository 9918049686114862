"""`python -m tests.bench.raw_client`: keep-alive connections that repeat one request, cheaply.

Reads a JSON document from standard input: port, seconds, and for each connection the request's text; with 0
seconds each is sent once. Sends prepared bytes and reads no more of an answer than its status, its length and
the job's id. Prints JSON: counts by status, milliseconds and job of every answer, and the processor seconds
that this process took.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from typing import Any

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"
JOB_ID = re.compile(rb'"id":(\d+)')


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int, request: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request

    def ask(self) -> tuple[int, int]:
        """Send the request and read the whole answer; its status and the job's id, 0 without one."""
        self._socket.sendall(self._request)
        data = b""
        while (end := data.find(END_OF_HEAD)) < 0:
            data += self._more()
        head = data[:end].lower()
        start = head.index(LENGTH) + len(LENGTH)
        length = int(head[start:].partition(b"\r\n")[0])
        missing = end + len(END_OF_HEAD) + length - len(data)
        while missing > 0:
            more = self._more()
            missing -= len(more)
            data += more
        found = JOB_ID.search(data, end)
        return int(head[9:12]), int(found[1]) if found else 0

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self) -> None:
        self._socket.close()


def main() -> None:
    plan: dict[str, Any] = json.load(sys.stdin)
    statuses: Counter[str] = Counter()
    durations_ms: list[float] = []
    jobs: list[int] = []
    sent_at_s: list[float] = []
    lock = threading.Lock()
    connections = [Connection(plan["port"], text.encode()) for text in plan["requests"]]
    started = time.monotonic()
    end = started + plan["seconds"]

    def run(connection: Connection) -> None:
        mine: Counter[str] = Counter()
        own_ms = []
        own_jobs = []
        own_sent_at = []
        while not own_ms or time.monotonic() < end:
            before, sent_at = time.monotonic(), time.time()
            try:
                status, job_id = connection.ask()
            except (OSError, ValueError) as error:
                mine[type(error).__name__] += 1
                break
            mine[str(status)] += 1
            own_ms.append((time.monotonic() - before) * 1000)
            own_jobs.append(job_id)
            own_sent_at.append(sent_at)
        with lock:
            statuses.update(mine)
            durations_ms.extend(own_ms)
            jobs.extend(own_jobs)
            sent_at_s.extend(own_sent_at)

    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.monotonic() - started
    for connection in connections:
        connection.close()
    print(
        json.dumps(
            {
                "statuses": statuses,
                "elapsed_s": elapsed_s,
                "durations_ms": durations_ms,
                "jobs": jobs,
                "sent_at_s": sent_at_s,
                "client_cpu_s": time.process_time(),
            }
        )
    )


if __name__ == "__main__":
    main()
