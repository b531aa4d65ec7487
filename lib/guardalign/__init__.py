"""guardalign: does preference alignment make a customer-care bot keep its guardrails better than fine-tuning?

The subpackages in the order data flows; imports run from later ones to earlier ones only (`make lint` checks this):
tree (usable alone); errors, losses, papers, files, processes; config; data; llm; annotation, world; models, judging;
training, stats; generation; launch; study; report; workflow.
"""

__version__ = "0.1.0"
