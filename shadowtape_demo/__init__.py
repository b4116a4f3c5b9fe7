"""The demo: the whole path on real data, on this machine, with every number measured in that run.

**Housing**: real census rows, sent in their recorded order. **Baseline** and **candidate**: two scikit-learn models, each
behind its own model server process. **Planted** secret: an invented e-mail, key, name or number that must not be
found in the capture.

This package may import everything and is imported by nobody but the command table. It drives the product through its command
line, as a user would: every step of `shadowtape demo` can be pasted into a shell.
"""
