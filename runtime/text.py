"""Prompts to text embeddings, as `CLIPTokenizerFast` and `CLIPTextModel` make them.

The slow `CLIPTokenizer` gives the same tokens, except that without the package ftfy it puts
spaces around each Chinese character.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from runtime.bundle import Bundle
from runtime.errors import BadFile
from runtime.tensors import Float32


class Tokens(NamedTuple):
    """A prompt as token ids, `max_length` of them, and how many did not fit and were cut off."""

    ids: list[int]
    cut: int


class TextEncoder:
    """The bundle's tokenizer and text encoder."""

    def __init__(self, bundle: Bundle) -> None:
        self._settings = bundle.manifest.tokenizer
        path = bundle.path(self._settings.tokenizer_json)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            what = f"is no tokenizer ({error})"
            raise BadFile(what, where=str(path), todo="export the bundle again") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._session = bundle.session(bundle.manifest.text_encoder.graph)

    def tokenize(self, prompt: str) -> Tokens:
        """Start, the prompt's tokens, end, then padding: what `padding="max_length"` gives."""
        settings = self._settings
        ids = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        kept = ids[: settings.max_length - 2]
        row = [settings.bos_token_id, *kept, settings.eos_token_id]
        row += [settings.pad_token_id] * (settings.max_length - len(row))
        return Tokens(row, len(ids) - len(kept))

    def encode(self, prompts: Sequence[str]) -> Float32:
        """`encoder_hidden_states [len(prompts), max_length, D]`, float32."""
        ids = np.array([self.tokenize(prompt).ids for prompt in prompts], np.int64)
        (states,) = self._session.run(["last_hidden_state"], {"input_ids": ids})
        return np.asarray(states, np.float32)
