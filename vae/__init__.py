"""A variational autoencoder, paths through its latent space, and animations of them.

    from vae import VAE, load_vae, linear, slerp, spline, morph

Each of these names is imported when it is first used, so that `import vae` alone loads no torch.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import_module("data.system")
except ImportError:
    hiding = getattr(sys.modules.get("data"), "__file__", None) or "data"
    raise ImportError(f"{hiding}: hides the package `data` that vae needs; give it another name") from None

if TYPE_CHECKING:
    from vae.checkpoint import load_vae
    from vae.latent.paths import linear, slerp, spline
    from vae.model.vae import VAE
    from vae.render.notebook import morph

__version__ = "0.1.0"
__all__ = ["VAE", "linear", "load_vae", "morph", "slerp", "spline"]
_MODULES = {
    "VAE": "vae.model.vae",
    "load_vae": "vae.checkpoint",
    "linear": "vae.latent.paths",
    "slerp": "vae.latent.paths",
    "spline": "vae.latent.paths",
    "morph": "vae.render.notebook",
}


def __getattr__(name: str) -> Any:
    """The public name of a module that is imported now."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
