"""What endpoints share: who computes, who waits, and who is told to come again."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from dreem_case.core import web
from dreem_case.core.places import PlaceUnavailable
from dreem_case.core.web import few_at_once, problem


def test_two_compute_at_a_time_and_who_waits_too_long_is_told_so(monkeypatch):
    monkeypatch.setattr(web, "WAIT_S", 0.05)
    at_work, go_on = threading.Barrier(3), threading.Event()

    @few_at_once
    def compute(number):
        at_work.wait(10)
        go_on.wait(10)
        return number

    with ThreadPoolExecutor(2) as threads:
        others = [threads.submit(compute, number) for number in range(2)]
        at_work.wait(10)
        with pytest.raises(PlaceUnavailable, match=r"expected a turn within 0\.05 s, found 2 others that compute"):
            compute(2)
        go_on.set()
        assert [other.result() for other in others] == [0, 1]


def test_what_a_computation_calls_needs_no_turn_of_its_own_and_one_that_fails_gives_it_back(monkeypatch):
    monkeypatch.setattr(web, "_TURNS", threading.BoundedSemaphore(1))
    monkeypatch.setattr(web, "WAIT_S", 0.05)

    @few_at_once
    def inverse(number):
        return 1 / number

    @few_at_once
    def both(number):
        return inverse(number), inverse(-number)

    with pytest.raises(ZeroDivisionError):
        both(0)
    assert both(2) == (0.5, -0.5)


def test_where_the_files_lie_is_told_to_the_log_and_to_no_client(caplog):
    with Flask("t").app_context():
        response, status = problem(PlaceUnavailable("s3://lab-secret/at: found http://10.0.0.7"), 503, "record")
    assert (status, response.json["detail"]) == (503, "the server cannot answer this now; try again")
    assert "place_unavailable: s3://lab-secret/at" in caplog.text
