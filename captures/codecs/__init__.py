"""Inference wire formats: bytes <-> Body. One file per codec; registry.py finds them."""
