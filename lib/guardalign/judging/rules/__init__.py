"""Rules that read natural customer-care English: guardrails kept, naturalness, claims that nobody told."""
