"""Prompts to text embeddings, as `CLIPTokenizerFast` and `CLIPTextModel` make them.

The slow `CLIPTokenizer` gives the same tokens, except that without the package ftfy it puts
spaces around each Chinese character.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from runtime.bundle import Bundle
from runtime.errors import BadFile, BrushletError
from runtime.manifest import BASE_VARIANT
from runtime.packs import stack
from runtime.prompts import make_chunks, parse_attention, weigh
from runtime.tags import first_tag
from runtime.tensors import Float32


class Row(NamedTuple):
    """A chunk of a prompt as the text encoder reads it, `max_length` token ids and weights.

    Start, the chunk's tokens, end, then padding: what `padding="max_length"` gives.
    """

    ids: list[int]
    weights: list[float]


class TextEncoder:
    """The bundle's tokenizer, and a variant's text encoder: the base's or a merged style's own."""

    def __init__(self, bundle: Bundle, variant: str = BASE_VARIANT) -> None:
        self._settings = bundle.manifest.tokenizer
        path = bundle.path(self._settings.tokenizer_json)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            what = f"is no tokenizer ({error})"
            raise BadFile(what, where=str(path), todo="export the bundle again") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        comma = self.tokenize(",")
        self._comma = comma[0] if len(comma) == 1 else None
        own = bundle.manifest.variant(variant).text_encoder
        self._session = bundle.session((own or bundle.manifest.text_encoder).graph)
        self._outputs = ["last_hidden_state", *bundle.manifest.text_encoder.skipped]
        self._no_lora = {} if own else stack([], bundle.text_slot_table())

    def tokenize(self, text: str) -> list[int]:
        """The token ids of a text that is not weighted, without start and end."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def rows(self, prompt: str) -> list[Row]:
        """A prompt's chunks, at least one (`prompts.parse_attention`, `prompts.make_chunks`).

        Raises:
            BrushletError: a style tag is left in it.
        """
        if tag := first_tag(prompt):
            todo = "take it out, and name the style where styles are chosen"
            raise BrushletError(f"the words hold the style tag {tag}", where="prompt", todo=todo)
        settings = self._settings
        sections = [
            [(self.tokenize(text), weight) for text, weight in section]
            for section in parse_attention(prompt)
        ]
        rows = []
        for ids, weights in make_chunks(sections, settings.max_length - 2, self._comma):
            padding = settings.max_length - 2 - len(ids)
            row = [settings.bos_token_id, *ids, settings.eos_token_id]
            row += [settings.pad_token_id] * padding
            rows.append(Row(row, [1.0, *weights, *[1.0] * (1 + padding)]))
        return rows

    def encode(
        self,
        prompts: Sequence[str],
        lora: Mapping[str, Float32] | None = None,
        clip_skip: int = 0,
    ) -> Float32:
        """`encoder_hidden_states [len(prompts), chunks * max_length, D]`, float32.

        Each chunk is read by itself, and all have the start's and end's states. A prompt of fewer
        chunks than the longest is filled up with empty ones, as A1111's `pad_cond_uncond` does.

        Args:
            prompts: one text each, in A1111's syntax (see `runtime.prompts`).
            lora: `styles.ChosenStyles.text_inputs()` of the variant; default: no style.
            clip_skip: layers that are left out at the end, as in diffusers: 0 is none. A1111's
                "Clip skip" counts from 1, so that its 2 is 1 here.

        Raises:
            BrushletError: a style tag is left in a prompt, the bundle cannot leave out so many
                layers, or weights or styles are so strong that the states are no numbers.
        """
        output = self._output(clip_skip)
        rows = [self.rows(prompt) for prompt in prompts]
        count = max(map(len, rows))
        empty = self.rows("") * count
        rows = [[*own, *empty][:count] for own in rows]
        ids = np.array([row.ids for own in rows for row in own], np.int64)
        feeds = {"input_ids": ids, **(lora or self._no_lora)}
        (states,) = self._session.run([output], feeds)
        weights = [row.weights for own in rows for row in own]
        weighed = np.array(list(map(weigh, states, weights)), np.float32)
        if not np.isfinite(weighed).all():
            todo = "lower the strengths of the styles and the weights of the words"
            raise BrushletError("the text encoder leaves what float32 can hold", todo=todo)
        return weighed.reshape(len(prompts), -1, weighed.shape[-1])

    def _output(self, clip_skip: int) -> str:
        if 0 <= clip_skip < len(self._outputs):
            return self._outputs[clip_skip]
        most = len(self._outputs) - 1
        todo = f"choose from 0 to {most}, where 0 leaves out none (A1111 counts from 1)"
        if not most:
            todo = "leave it out, or export the bundle again if its text encoder has more layers"
        what = f"the text encoder cannot leave out its last {clip_skip} layers"
        raise BrushletError(what, where="clip skip", todo=todo)
