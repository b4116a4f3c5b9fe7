"""Schedules and how to change them. Imports ``captures``.

Schedule: what to send when, integer columns without bodies · View: features and predictions of the inputs, decoded once, lazily ·
Transform: a pure function ``(schedule, view, rng) -> schedule`` · Rewrite: a change of contents, *identity* (the right answer is
unchanged) or *value* (it may change) · Receipt: measured proof of what a transform did.
"""
