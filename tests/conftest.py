"""What holds for every test, in every worker."""

import signal

# A shell that starts the tests in the background has SIGINT ignored, children inherit that, and then no test can
# interrupt one: give it back its usual meaning.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
