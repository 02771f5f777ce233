"""The embedded default model: scenes drawn by code, and everything trained on them."""
