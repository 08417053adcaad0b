"""In which precision a training computes."""

from typing import Any

import torch

from data.system.errors import UserError


def suitable_precision(wanted: Any, accelerator: Any) -> Any:
    """The precision that is wanted, or the best one.

    Raises:
        UserError: it would not do.
    """
    if str(wanted) in ("bf16-true", "16-true", "64-true", "64"):
        raise UserError(
            f"--trainer.precision {wanted}: the likelihood and what is measured want float32; "
            "take bf16-mixed, 16-mixed or 32-true"
        )
    return best_precision(accelerator) if wanted is None else wanted


def best_precision(accelerator: Any) -> str:
    """bf16-mixed where the device computes it in hardware, float32 elsewhere."""
    if torch.cuda.is_available() and accelerator != "cpu":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        on_cpu = accelerator == "cpu" or not torch.backends.mps.is_available()
        native = on_cpu and bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bf16-mixed" if native else "32-true"
