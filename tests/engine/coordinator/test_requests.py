"""Requests to a running coordinator: found once, and none at its start."""

from __future__ import annotations

from cryoloom.engine.coordinator.requests import ask_to_gather, asked_to_gather, forget_requests


def test_a_request_is_found_once_by_its_node(tmp_path):
    assert not asked_to_gather(tmp_path, "average")
    ask_to_gather(tmp_path, "average")
    ask_to_gather(tmp_path, "average")
    assert not asked_to_gather(tmp_path, "refine")
    assert asked_to_gather(tmp_path, "average")
    assert not asked_to_gather(tmp_path, "average")


def test_a_coordinator_starts_without_old_requests(tmp_path):
    ask_to_gather(tmp_path, "average")
    forget_requests(tmp_path)
    assert not asked_to_gather(tmp_path, "average")
    forget_requests(tmp_path)
