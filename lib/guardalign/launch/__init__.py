"""Training and generation as processes of their own, and the machine's GPUs shared among them."""
