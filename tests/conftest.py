"""Settings of all tests: random examples are the same in every run, and may take as long as a busy machine needs.

Ctrl-C is not ignored, as it is in what a script has begun in the background: tests interrupt themselves and others.
"""

import signal

from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")
