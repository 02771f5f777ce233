"""Side-by-side measurements. Each is a ratio taken in one run, since machines are noisy."""
