import io
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.bundle import Bundle
from runtime.tensors import dump_tensors, parse_tensors
from runtime.vae import VaeDecoder, VaeEncoder
from server.engine import Engine
from server.jobs import decode_latents, encode_image
from tests.server.conftest import picture


def test_a_bundle_with_a_taesd_encodes_and_decodes(lcm_bundle: Path) -> None:
    parts, bundle = Engine(lcm_bundle, 1).parts(), Bundle.open(lcm_bundle)
    body = picture("PNG")
    pixels = np.asarray(Image.open(io.BytesIO(body)))[None]
    tensors, _ = parse_tensors(encode_image(parts, body, 256), "answer")
    assert (tensors["latents"] == VaeEncoder(bundle).encode(pixels)).all()
    answer = decode_latents(parts, dump_tensors(tensors, {}), "png", 256)
    expected = VaeDecoder(bundle).decode(tensors["latents"])[0]
    assert (np.asarray(Image.open(io.BytesIO(answer))) == expected).all()
