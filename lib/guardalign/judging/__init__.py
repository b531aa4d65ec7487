"""Replies in, verdicts out: the judge's protocol, and the judges that implement it."""
