"""Watching real traffic: forwarding owns the sockets, recording gets a copy. Imports ``captures``.

Relay: the proxy that forwards · Addon: the mitmproxy hooks · Assembler: chunks of both directions -> Exchange ·
Spool: a bounded queue and the process behind it that decodes, pseudonymises and writes · Shed: a copy that was dropped and counted.
"""
