from pathlib import Path

import torch
from rich.console import Console

from trainer.base import Base, load_base
from trainer.dataset import load_pictures, read_dataset
from trainer.latents import TEXT_BATCH, caption_notes, embed, fill_cache

SIZE = 32


def base_of(folder: Path) -> Base:
    return load_base(str(folder), torch.device("cpu"), Console(quiet=True), None)


def test_latents_are_what_the_vae_says_of_pictures_and_mirror_images(
    tiny_base: Path, pictures: Path
) -> None:
    base, dataset = base_of(tiny_base), read_dataset(pictures)
    cache = fill_cache(base, dataset, SIZE, flip=True)
    assert (cache.pictures, cache.variants) == (3, 2)
    drawn = torch.stack(list(load_pictures(dataset, SIZE)))
    with torch.no_grad():
        posterior = base.pipeline.vae.encode(torch.cat([drawn, drawn.flip(-1)])).latent_dist
    torch.testing.assert_close(cache.mean, posterior.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cache.std, posterior.std, rtol=1e-5, atol=1e-5)
    assert fill_cache(base, dataset, SIZE, flip=False).variants == 1


def test_a_taesd_has_no_spread(taesd_base: Path, pictures: Path) -> None:
    cache = fill_cache(base_of(taesd_base), read_dataset(pictures), SIZE, flip=False)
    assert not cache.std.any()
    assert cache.mean.any()


def test_embeddings_do_not_depend_on_what_stands_beside_them(tiny_base: Path) -> None:
    pipeline = base_of(tiny_base).pipeline
    prompts = [f"a castle, {'clouds, ' * (i % 5)}day" for i in range(TEXT_BATCH + 3)]
    whole = embed(pipeline, prompts)
    assert whole.shape[:2] == (len(prompts), pipeline.tokenizer.model_max_length)
    for i in (0, TEXT_BATCH - 1, TEXT_BATCH, len(prompts) - 1):
        torch.testing.assert_close(whole[i], embed(pipeline, [prompts[i]])[0], rtol=1e-5, atol=1e-5)


def test_captions_that_work_need_no_note(tiny_base: Path, pictures: Path) -> None:
    base, dataset = base_of(tiny_base), read_dataset(pictures)
    assert caption_notes(base, dataset, "my style") == []
    [note] = caption_notes(base, dataset, "castle")
    assert "missing in 1 captions" in note
