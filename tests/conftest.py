"""What holds for every test, in every worker."""

import signal

# A shell that starts the tests in the background has SIGINT ignored, children inherit that, and then no test can
# interrupt one: give it back its usual meaning.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "test_series", "test_comparison", "test_llm_series", "test_slurm", "test_launch", "test_own_data", "test_training",
    "test_style", "test_estimate", "test_report",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """A worker takes a file at a time: the longest come first, or one of them would be what all wait for at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))
