"""One thread a process: small networks gain nothing from more, and a busy machine crawls."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
