"""The prefix tree, attention that follows it, and the scorer: usable by itself with any transformers model."""
