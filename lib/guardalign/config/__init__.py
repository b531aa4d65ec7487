"""Parameter files: sections, types, ranges, and the notebook's parameters cell."""
