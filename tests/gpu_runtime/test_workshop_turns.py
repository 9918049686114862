"""Who has the device: the engine or an operation, and whose. Turns are counted on a clock that work moves."""

from __future__ import annotations

from collections import Counter

import pytest

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import Priority, Progress, RequestDone
from gpu_runtime.telemetry import TickKind
from gpu_runtime.work import Made
from gpu_runtime.workshop.alternation import MOST_OWED_S, Alternation, Side
from tests.gpu_runtime.driving import drive, image_request
from tests.gpu_runtime.workshop_driving import fit, scripted, upscale, with_image, work_request

INTERACTIVE, BACKGROUND = Priority.INTERACTIVE, Priority.BACKGROUND


@pytest.mark.parametrize(("tick_s", "slice_s"), [(1.0, 1.0), (0.1, 1.0), (1.0, 0.1)])
def test_neighbours_steps_take_at_most_twice_as_long_beside_an_upscale(tick_s: float, slice_s: float) -> None:
    workshop, engine, _ = scripted(slices=1000, slice_s=slice_s)
    engine.tick_s = tick_s
    workshop.submit(work_request("large", before=(upscale(source="photo"),)))
    workshop.step()
    began = engine.watch.now
    workshop.submit(image_request("neighbour", steps=40))
    while not any(isinstance(event, RequestDone) for event in workshop.step()):
        pass
    alone_s = 40 * tick_s
    # And one slice, which may have begun when it came.
    assert engine.watch.now - began <= 2 * alone_s + slice_s + 1e-6
    assert engine.watch.now - began >= 1.9 * alone_s, "the upscale stood still"


def test_loading_weights_earns_the_other_side_no_time() -> None:
    workshop, engine, script = scripted(slices=50)
    engine.load_s = 100.0
    workshop.submit(image_request("loads", steps=20))
    workshop.step()
    workshop.submit(work_request("operates", before=(fit(),)))
    for _ in range(20):
        workshop.step()
    assert 9 <= len(script.log) <= 11


def test_long_call_is_paid_back_only_so_far() -> None:
    turns = Alternation()
    assert turns.choose(INTERACTIVE, INTERACTIVE) is Side.ENGINE
    turns.charge(Side.ENGINE, 1000.0)
    given = 0.0
    while turns.choose(INTERACTIVE, INTERACTIVE) is Side.OPERATIONS:
        turns.charge(Side.OPERATIONS, 1.0)
        given += 1.0
    assert given == MOST_OWED_S


def test_idleness_earns_no_credit() -> None:
    turns = Alternation()
    for _ in range(100):
        turns.choose(INTERACTIVE, None)
        turns.charge(Side.ENGINE, 1.0)
    sides = []
    for _ in range(10):
        side = turns.choose(INTERACTIVE, INTERACTIVE)
        assert side is not None
        turns.charge(side, 1.0)
        sides.append(side)
    assert Counter(sides) == {Side.ENGINE: 5, Side.OPERATIONS: 5}


@pytest.mark.parametrize("lower", [Side.ENGINE, Side.OPERATIONS])
def test_work_of_a_lower_class_gets_a_small_part(lower: Side) -> None:
    turns = Alternation()
    classes = {Side.ENGINE: INTERACTIVE, Side.OPERATIONS: INTERACTIVE} | {lower: BACKGROUND}
    sides: Counter[Side] = Counter()
    for _ in range(250):
        side = turns.choose(classes[Side.ENGINE], classes[Side.OPERATIONS])
        assert side is not None
        turns.charge(side, 0.1)
        sides[side] += 1
    assert 5 <= sides[lower] <= 15


def test_nobody_waits_without_need() -> None:
    turns = Alternation()
    assert turns.choose(None, None) is None
    assert turns.choose(None, BACKGROUND) is Side.OPERATIONS
    turns.charge(Side.OPERATIONS, 5.0)
    assert turns.choose(None, BACKGROUND) is Side.OPERATIONS


def test_accounts_share_operations_by_weight() -> None:
    workshop, _, script = scripted(slices=1000)
    for number in range(3):
        workshop.submit(work_request(f"ada{number}", account="ada", before=(fit(width=8),)))
    workshop.submit(work_request("ben", account="ben", weight=2.0, before=(fit(width=16),)))
    for _ in range(90):
        workshop.step()
    assert script.given[16] == pytest.approx(60, abs=1)
    assert script.given[8] == pytest.approx(30, abs=1)
    assert len(script.contexts) == 4, "each of an account's requests had its turn"


def test_small_operation_is_not_held_up_by_a_large_one_of_its_account() -> None:
    workshop, _, script = scripted(slices=4)
    workshop.submit(work_request("large", before=(fit(),) * 20))
    workshop.submit(work_request("small", before=(fit(),)))
    events = []
    while not any(isinstance(event, RequestDone) for event in events):
        events = workshop.step()
    assert events[-1].request_id == "small"
    assert len(script.log) <= 8


def test_interactive_operations_come_first_and_others_do_not_stand_still() -> None:
    workshop, _, script = scripted(slices=1000)
    workshop.submit(work_request("later", priority=BACKGROUND, before=(fit(width=8),)))
    workshop.submit(work_request("now", before=(fit(width=16),)))
    for _ in range(104):
        workshop.step()
    assert script.given == {8: 3, 16: 101}


def test_images_of_a_request_are_worked_on_while_the_engine_makes_others() -> None:
    workshop, _, script = scripted(slices=5)
    workshop.submit(with_image("first", {"steps": 2}, after=(upscale(),)))
    workshop.submit(with_image("second", {"steps": 20}, after=(upscale(),)))
    outcome = drive(workshop)
    done = [event.request_id for event in outcome.events if isinstance(event, RequestDone)]
    assert done == ["first", "second"]
    assert script.log == ["upscale"] * 10


def test_free_rows_count_a_request_with_operations_as_one() -> None:
    workshop, engine, _ = scripted()
    most = engine.config.max_rows
    assert workshop.free_rows() == most
    workshop.submit(with_image("r", {"seeds": tuple(range(5))}, before=(fit(),)))
    assert workshop.free_rows() == most - 1
    while not engine.received:
        workshop.step()
    assert workshop.free_rows() == most - 5


def test_isolated_request_keeps_others_out() -> None:
    workshop, engine, _ = scripted()
    workshop.submit(with_image("r", before=(fit(),), is_isolated=True))
    assert workshop.free_rows() == 0
    drive(workshop)
    assert workshop.free_rows() > 0
    assert engine.received[0].is_isolated


def test_expected_time_of_a_slice_is_generous_until_it_is_measured() -> None:
    workshop, _, _ = scripted(slice_s=3.0)
    assert workshop.expected_step_s() == 0.0
    workshop.submit(work_request("r", before=(fit(),)))
    assert workshop.expected_step_s() >= 30.0
    drive(workshop)
    workshop.submit(work_request("s", before=(fit(),)))
    # Twice the longest slice, a little of which the short last one made it forget.
    assert workshop.expected_step_s() == pytest.approx(5.7)


def test_ticks_report_operations_beside_the_engines() -> None:
    workshop, engine, _ = scripted(slices=2, slice_s=0.5)
    engine.load_s = 7.0
    workshop.submit(with_image("r", before=(fit(),)))
    drive(workshop)
    reports = [(report.kind, report.seconds) for report in workshop.take_ticks()]
    assert reports.count((TickKind.OPERATION, 0.5)) == 2
    assert (TickKind.LOAD, 7.0) in reports
    assert workshop.take_ticks() == []


def test_forecast_covers_engine_and_operations() -> None:
    workshop, _, _ = scripted(slices=10)
    workshop.submit(work_request("measured", before=(fit(),)))
    drive(workshop)
    workshop.submit(image_request("plain", steps=1))
    workshop.submit(work_request("long", before=(fit(),) * 5))
    workshop.submit(work_request("short", account="ben", before=(fit(),)))
    found = {each.request_id: each for each in workshop.forecast()}
    assert set(found) == {"plain", "long", "short"}
    assert [found[name].position for name in ("plain", "short", "long")] == [0, 1, 2]
    # 10 s each until the short one is done; then the 50 s and 10 s of all.
    assert found["short"].seconds == pytest.approx(20.0, abs=1.0)
    assert found["long"].seconds == pytest.approx(60.0, abs=1.0)


def test_draining_ends_what_is_held() -> None:
    workshop, engine, _ = scripted()
    workshop.submit(with_image("r", {"image": Made(name="fitted")}, before=(fit(),), after=(upscale(),)))
    workshop.drain()
    with pytest.raises(RuntimeFault, match="draining"):
        workshop.submit(work_request("s"))
    assert workshop.free_rows() == 0
    assert isinstance(drive(workshop).final("r"), RequestDone)
    with pytest.raises(RuntimeFault, match="draining"):
        engine.submit(image_request("t"))


def test_progress_of_a_neighbour_goes_on_while_operations_run() -> None:
    workshop, _, _ = scripted(slices=30)
    workshop.submit(work_request("large", before=(fit(),)))
    workshop.submit(image_request("neighbour", steps=10))
    kinds = []
    for _ in range(20):
        kinds += [event.request_id for event in workshop.step() if isinstance(event, Progress)]
    assert kinds.count("neighbour") == 10
