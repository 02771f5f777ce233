"""How the embedded model was made: tokenizer, VAE, UNet with text encoder, classifiers."""
