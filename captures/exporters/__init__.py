"""Captures out, into formats that others read; each exporter is one file and says what its format cannot keep."""
