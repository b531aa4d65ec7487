"""Rules that read natural customer-care English: guardrails kept, naturalness, claims without a source."""
