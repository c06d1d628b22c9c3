"""Benchmarks do not write to the user's journal; those that measure a journal give its path."""

import os

os.environ.setdefault("SFJOBS_JOURNAL", "off")
