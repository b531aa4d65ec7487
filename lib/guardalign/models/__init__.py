"""Models found, loaded and adapted; text encoded for them."""
