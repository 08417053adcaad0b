"""The floating-point precision of a training."""

import torch

from data.system.errors import UserError

_UNSUITABLE = ("bf16-true", "16-true", "64-true", "64")


def resolve_precision(precision: str | int | None, accelerator: object) -> str | int:
    """The trainer's option `precision`; None is `bf16-mixed` where the device computes it in hardware, else `32-true`.

    Raises:
        UserError: it keeps the weights in another type than float32.
    """
    if str(precision) in _UNSUITABLE:
        raise UserError(
            f"--trainer.precision {precision}: the likelihood and what is measured want float32; "
            "take bf16-mixed, 16-mixed or 32-true"
        )
    if precision is not None:
        return precision
    if torch.cuda.is_available() and accelerator != "cpu":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        on_cpu = accelerator == "cpu" or not torch.backends.mps.is_available()
        native = on_cpu and bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bf16-mixed" if native else "32-true"
