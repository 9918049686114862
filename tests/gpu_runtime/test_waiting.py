"""A line of jobs from which some are withdrawn before their turn."""

from __future__ import annotations

import threading

from gpu_runtime.execution.waiting import WaitingLine


def test_jobs_are_done_in_the_order_of_their_coming_but_for_those_withdrawn() -> None:
    line: WaitingLine[str, int] = WaitingLine()
    for number, key in enumerate("abc"):
        line.put(key, number)
    assert line.withdraw("b")
    assert not line.withdraw("b")
    assert line.keys() == ["a", "c"]
    assert line.take() == 0
    assert not line.withdraw("a"), "it is being done"
    line.done()
    assert line.take() == 2


def test_who_joins_waits_for_the_job_that_is_being_done() -> None:
    line: WaitingLine[str, int] = WaitingLine()
    line.join()
    line.put("a", 1)
    line.take()
    joined = threading.Event()
    joining = threading.Thread(target=lambda: (line.join(), joined.set()), daemon=True)
    joining.start()
    assert not joined.wait(0.05)
    line.done()
    assert joined.wait(10)


def test_who_takes_waits_for_a_job() -> None:
    line: WaitingLine[str, int] = WaitingLine()
    taken: list[int] = []
    taking = threading.Thread(target=lambda: taken.append(line.take()), daemon=True)
    taking.start()
    line.put("a", 7)
    taking.join(10)
    assert taken == [7]
