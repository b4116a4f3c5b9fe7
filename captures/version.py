"""The version of the distribution. The format of capture files has its own number, in frame.py."""

__version__ = "0.1.0"
