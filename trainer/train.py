"""Train a LoRA: settings, base, data, adapters, loop, files. Reads from top to bottom.

python -m trainer miyazaki
python -m trainer mine --data my-pictures --set trigger_words="my style"
"""

import time

import torch
from rich.console import Console

from runtime.commands import plain
from runtime.errors import BrushletError, Cancelled
from runtime.writing import require_writable
from trainer.adapters import add_adapters, learning_groups, set_strength
from trainer.base import load_base
from trainer.batches import batch_at
from trainer.checkpoint import Checkpoint
from trainer.config import TrainConfig
from trainer.dataset import read_dataset
from trainer.device import choose_attention, compute_dtype, pick_device
from trainer.latents import caption_notes, fill_cache
from trainer.objective import learning_rate_at, target, timestep_weights
from trainer.progress import Stop, TrainingBar
from trainer.save import Trained, save_lora
from trainer.sidecar import hand_written_notes
from trainer.thumbnail import draw_thumbnail

LOSS_MEMORY = 50  # steps behind which the running mean forgets


def train(config: TrainConfig, console: Console, stop: Stop, *, restart: bool = False) -> Trained:
    """Trains `config.name` and writes `config.out` with its sidecar and thumbnail.

    Raises BrushletError for a bad dataset, base, checkpoint or sidecar and for a place that cannot
    be written, and Cancelled when `stop` was asked for: the same call then goes on where this one
    ended, with the same result.
    """
    # Base: a frozen pipeline. The pictures have its size unless the settings say otherwise.
    device = pick_device(config.device)
    dtype = compute_dtype(config.precision, device)
    dataset = read_dataset(config.data)
    base = load_base(config.base, device, console, config.base_config)
    schedule = base.noise_schedule()
    weights = timestep_weights(schedule, config.loss_weighting, config.min_snr_gamma)
    size = config.resolution or base.resolution

    # Place: what is wrong there is told now and not after the training.
    for note in hand_written_notes(config.out):
        console.print(plain(f"note: {note}"))
    require_writable(config.out, "free some space there, or give another file with --out")

    # Data: VAE and text encoder are frozen, so they run once and not at every step.
    cache = fill_cache(base, dataset, size, config.flip)
    console.print(f"{len(dataset)} pictures of {size}x{size} from {dataset.folder}, {dtype}")
    for note in caption_notes(base, dataset, config.trigger_words):
        console.print(f"note: {note}")

    # Model: two thin matrices beside each transformer layer are all that learns.
    unet = base.pipeline.unet
    parameters = add_adapters(unet, config.rank, config.alpha, config.seed)
    unet.train()
    choose_attention(unet, device, cache.mean.shape[-1])
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    adam = torch.optim.AdamW(
        learning_groups(parameters, config.lora_plus_ratio),
        config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )

    # Resume: everything random is a function of (seed, step), so adapters and moments suffice.
    checkpoint = Checkpoint(
        config.out.with_suffix(".unfinished"),
        fingerprint={
            **config.model_dump(mode="json", include=RESULT_SETTINGS),
            "data_sha256": dataset.sha256(),
            "base_sha256": base.sha256,
        },
    )
    if restart:
        checkpoint.delete()
    first_step, loss_mean = checkpoint.resume(parameters, adam)
    if first_step:
        console.print(f"going on after step {first_step} of {config.steps}")

    # Loop.
    saved_at = time.monotonic()
    with stop.on_signals(), TrainingBar(console, config.name, config.steps, first_step) as bar:
        for step in range(first_step, config.steps):
            batch = batch_at(
                cache,
                step,
                seed=config.seed,
                batch_size=config.batch_size,
                timestep_weights=weights,
                caption_dropout=config.caption_dropout,
                least_strength=config.least_strength,
            )
            set_strength(unet, batch.strength)
            noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                predicted = unet(noisy, batch.timesteps, batch.encoder_hidden_states).sample
            error = (predicted.float() - target(batch, schedule)).square().mean(dim=(1, 2, 3))
            loss = (batch.weights * error).mean()

            rate = learning_rate_at(step, config.learning_rate, config.warmup_steps, config.steps)
            for group in adam.param_groups:
                group["lr"] = rate * group["speed"]
            adam.zero_grad()
            if not torch.isfinite(loss):
                raise BrushletError(
                    f"the loss is no longer a number after step {step}",
                    where=config.name,
                    todo=f"lower learning_rate ({config.learning_rate}), then --restart",
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
            adam.step()

            loss_mean += (loss.item() - loss_mean) / min(step + 1, LOSS_MEMORY)
            bar.step(step + 1, loss_mean)

            due = time.monotonic() - saved_at > config.checkpoint_seconds
            if due or stop.asked or step + 1 == config.steps:
                checkpoint.save(step + 1, loss_mean, parameters, adam)
                saved_at = time.monotonic()
            if stop.asked:
                raise Cancelled(
                    f"stopped after step {step + 1} of {config.steps}; nothing is lost",
                    todo="run the same command again to go on",
                )

    # Files. The thumbnail shows what the slider starts with.
    unet.eval()
    set_strength(unet, config.preferred_strength)
    prompt = ", ".join(filter(None, (config.trigger_words, config.thumbnail_prompt)))
    thumbnail = draw_thumbnail(base, prompt, config.thumbnail_seed)
    set_strength(unet, 1)
    trained = Trained(config, base, dataset, parameters, size=size, loss=loss_mean)
    save_lora(trained, thumbnail)
    checkpoint.delete()
    return trained


# Settings that change what comes out; the others may differ when a training goes on.
RESULT_SETTINGS = {
    *("resolution", "flip", "rank", "alpha", "least_strength", "steps", "batch_size"),
    *("learning_rate", "lora_plus_ratio", "warmup_steps", "weight_decay", "max_grad_norm"),
    *("caption_dropout", "loss_weighting", "min_snr_gamma", "precision", "seed"),
}
