"""Schedules and how to change them. Imports ``captures``.

Schedule: what to send when, integer columns without bodies · View: features and predictions of the inputs, decoded once, lazily ·
Transform: a pure function ``(schedule, view, rng) -> schedule`` · Rewrite: a change of contents, *identity* (the right answer is
unchanged) or *value* (it may change) · Receipt: measured proof of what a transform did.

``transforms.apply(schedule, view, [transforms.build("time_scale:factor=5")], seed=7)`` runs a chain.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transforms.catalogue import build
    from transforms.plan import schedule_of
    from transforms.schedule import Schedule
    from transforms.transform import apply
    from transforms.view import View

__all__ = ["Schedule", "View", "apply", "build", "schedule_of"]

_WHERE = {
    "Schedule": "transforms.schedule",
    "View": "transforms.view",
    "apply": "transforms.transform",
    "build": "transforms.catalogue",
    "schedule_of": "transforms.plan",
}


def __getattr__(name: str) -> object:
    # Lazily: a replay without transforms loads no catalogue.
    if name not in _WHERE:
        raise AttributeError(f"module 'transforms' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
