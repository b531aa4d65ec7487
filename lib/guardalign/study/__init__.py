"""Arms and the data they are trained on; what they are compared by."""
