"""Stages 1 and 2 by a language model, masking, and the data card."""
