"""Judging the answers to the same row: recorded, baseline and candidate.

Judgement = Match | Mismatch(differences) | Incomparable(why), of one pair.

judgement.py: the nouns · comparators.py: two batches of bodies -> judgements · pairing.py: outcomes and flags -> which pairs
can be compared at all · statistics.py: bounds and intervals · slices.py: where the disagreement is · testing.py: check_comparator.
"""
