"""Ground floor of brushlet: what a LoRA file says, what a bundle is, how a bundle runs."""
