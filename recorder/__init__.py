"""Watching real traffic: forwarding owns the sockets, recording gets a copy. Imports ``captures``.

Relay: the proxy that forwards · Recorder: the hooks that tee what passes · Assembler: chunks of both directions -> Exchange ·
Recording: what is kept, left out and counted · Spool: a bounded queue and the process behind it that decodes, pseudonymises
and writes · Intake: the spool's account of every exchange · Session: one recording from key to seal ·
Shed: a copy that was dropped and counted.
"""
