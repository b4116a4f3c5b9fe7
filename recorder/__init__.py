"""Watching real traffic: forwarding owns the sockets, recording gets a copy. Imports ``captures``.

Recorder: all processes of one recording · Supervisor: holds the port, replaces the others, drains · Worker: takes connections, as a
relay or as a sink · Lane: HTTP/1.1, byte by byte · Hooks: everything else, through mitmproxy · Sink: takes copies · Spool: the
process that decodes, pseudonymises and writes, behind a bounded queue · Board: the counters they share · Recording: what is
kept, left out and counted · Intake: the spool's account of every exchange · Shed: a copy that was dropped and counted.
"""
