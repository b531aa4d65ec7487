"""guardalign: does preference alignment make a customer-care bot keep its guardrails better than fine-tuning?

The rooms stand in the order data flows; imports run from later ones to earlier ones only (`make lint` sees to it):
errors, losses, papers, files, processes; config, tree; data; llm; annotation, world; models, judging; training, stats;
generation; launch; study; report; workflow.
"""

import atexit
import gc
import os

__version__ = "0.1.0"

# A process ends by looking through all it ever imported for cycles to free, which it is about to give back whole: with
# torch and transformers that took 1.3 of 6 s of a stage's or a training's start and end. What else happens at the end
# (open files, temporary folders, other libraries' own) happens all the same.
atexit.register(gc.freeze)
# Cycles are looked for after 10,000 new containers, not 700 (a training step makes some thousands): the imports of a
# stage take 3.4 instead of 4.0 s. Whoever looks less often still, or never (0), goes on doing so.
if 0 < gc.get_threshold()[0] < 10_000:
    gc.set_threshold(10_000, *gc.get_threshold()[1:])

# On a CPU in bf16, oneDNN keeps compiled kernels for the last 1,024 shapes, and every prefix tree has a shape of its
# own: gigabytes after some hundred steps. 256 is as fast and bounds it.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")

# Threads that wait for each other spin for milliseconds by default. Where something else uses a core they spin against
# the one they wait for: a training step beside one busy process took 1.8 s so, with a short spin 1.2 s, and up to 20
# times as long at worst; on a quiet machine it makes no difference (two cores, 0.55 s either way).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
