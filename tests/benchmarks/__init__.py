"""Nobody's own journal hears of benchmarks: those that measure one say where it is."""

import os

os.environ.setdefault("SFJOBS_JOURNAL", "off")
