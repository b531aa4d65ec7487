"""Prompts and a checkpoint in, replies out: in one process or several, going on where a run was cut off."""
