"""The comparison of methods as tables, figures and findings."""
