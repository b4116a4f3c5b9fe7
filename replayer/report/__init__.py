"""What a run found, for people and machines: folds over attempts and judgements.

terminal.py: the summary on a terminal · html.py: one self-contained file, of charts.py, comparison.py and provenance.py ·
format.py: numbers as people read them · vendor/: uPlot.

Everything here reads ``summary.json`` and ``run.json`` as data: an old run can be shown again.
"""
