"""What brushlet promises (DESIGN, parity promises), and what was measured of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """`at_least`: the limit is a lower one."""

    title: str
    limit: float
    unit: str
    at_least: bool = False


PROMISES = {
    "tokens": Promise("tokens = transformers", 0, "prompts that differ"),
    "words": Promise("embeddings = PyTorch with A1111's rules", 1e-5, "of max abs"),
    "noise": Promise("start noise = torch", 1e-6, "max abs"),
    "sampler": Promise("sampler run = diffusers", 1e-5, "relative"),
    "step fp32": Promise("UNet step, fp32 compute = PyTorch", 1e-5, "of max abs"),
    "step fp16": Promise("UNet step, fp16 compute = PyTorch, natively *", 5e-3, "of max abs"),
    "cosine fp16": Promise(
        "UNet step, fp16 compute = PyTorch, natively *", 0.9999, "cosine", at_least=True
    ),
    "lora": Promise(
        "external = PEFT, merged = PEFT's in fp16, zero = base; LoRAs of fp16 values",
        1e-5,
        "of max abs",
    ),
    # fp16 rounds each merged weight by up to 4.9e-4 of it; measured: 1.1e-4 to 1.9e-4.
    "rounded": Promise("external = merged, whose weights are fp16", 5e-4, "of max abs"),
    "picture fp32": Promise(
        "words to 20-step 8-bit picture = diffusers, same seed", 60, "dB", at_least=True
    ),
    "picture fp16": Promise("the same, fp16 compute, natively *", 40, "dB", at_least=True),
    "picture q8": Promise("the same from weights in 8 bits (DTYPE=q8)", 28, "dB", at_least=True),
}
NOTE = (
    "* No browser runs fp16 here: WASM has no such kernels, SwiftShader no shader-f16. Where WebGPU"
    " has shader-f16 tests/web/test_dawn.py measures it, to 1e-2, for lavapipe adds up in 16 bits"
    " and misses 5e-3; it is skipped where Dawn (npm webgpu) is not installed."
)


@dataclass(frozen=True)
class Measured:
    """One comparison under a promise."""

    promise: str
    runtime: str
    what: str
    value: float

    @property
    def kept(self) -> bool:
        """Whether the value is within the promise; NaN is not."""
        promise = PROMISES[self.promise]
        return self.value >= promise.limit if promise.at_least else self.value <= promise.limit

    def __str__(self) -> str:
        promise = PROMISES[self.promise]
        sign = ">=" if promise.at_least else "<="
        return (
            f"{promise.title}, {self.runtime}, {self.what}: {self.value:.3g} {promise.unit}"
            f" (promised {sign} {promise.limit:g})"
        )
