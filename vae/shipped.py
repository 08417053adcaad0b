"""The models that are included: in `checkpoints/` of a checkout, or in this package where it was installed."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "checkpoints"
_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _HERE.parent / "checkpoints"
SHIPPED, SHIPPED_FOR_PICTURES, SHIPPED_FOR_LINES = (_FOLDER / f"{of}.ckpt" for of in ("patterns", "pictures", "lines"))
