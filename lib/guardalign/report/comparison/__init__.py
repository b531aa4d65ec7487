"""The comparison of methods as tables, figures and findings."""

SFT, RLHF = "sft", "rlhf"
"""The arm that all others start from, and the online one."""
