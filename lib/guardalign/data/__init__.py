"""Conversations, JSONL in and out, splits, points, and the papers' tasks."""
