"""Sending it again, and judging the answer. Imports ``captures`` and ``transforms``.

Target: where rows go · Pacer: which rows are due at a time; never sleeps · Attempt: what became of a row ·
Outcome = Completed | Failed(kind) | Shed(reason) · Judgement = Match | Mismatch | Incomparable(why), of one pair ·
Objective: one ``--require`` expression · Verdict = PASS | FAIL | INCONCLUSIVE | INVALID | UNJUDGED ·
Slice: a part of the data · Run: a folder with everything that was asked, sent and found.
lateness = dispatched - intended · service time = done - dispatched · response time = done - intended.
"""
