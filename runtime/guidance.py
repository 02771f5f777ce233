"""On which model calls classifier-free guidance is applied."""

from runtime.errors import BrushletError
from runtime.manifest import Model

Fractions = tuple[float, float]
WHOLE: Fractions = (0.0, 1.0)


def guided_calls(fractions: Fractions, calls: int, scale: float, model: Model) -> range:
    """The calls that run with guidance, of all `calls` of a run; the others see the prompt alone.

    In a limited interval of the noise levels guidance does most of its good, and each call outside
    costs half (arXiv:2404.07724). The rounding is that of diffusers' `ClassifierFreeGuidance`.

    Args:
        fractions: from where to where in the run, 0 to 1.
        calls: model calls of the run.
        scale: the guidance scale; 1 and below is no guidance.
        model: one that is told the guidance (LCM) is never run with it.

    Raises:
        BrushletError: the fractions are none, or the model is told the guidance.
    """
    begin, end = fractions
    if not 0 <= begin <= end <= 1:
        todo = "give two fractions of the run, from 0 to 1, the smaller first"
        raise BrushletError(f"guidance from {begin} to {end} is no part of a run", todo=todo)
    if model.guidance_frequencies and fractions != WHOLE:
        what = "this base is told the guidance and has no second half to leave out on some steps"
        raise BrushletError(what, todo="leave the guidance range out")
    if scale <= 1 or model.guidance_frequencies:
        return range(0)
    return range(int(begin * calls), int(end * calls))
