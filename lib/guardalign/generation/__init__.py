"""Prompts and a checkpoint in, replies out: in one process or several, resuming interrupted runs."""
