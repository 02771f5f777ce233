"""Serves a bundle over HTTP: text encoding, VAE work, styles and static files. Never torch."""
