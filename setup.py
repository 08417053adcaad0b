"""The packages of a wheel: `data`, `vae`, and the models in `checkpoints/`, which become a part of `vae`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["data*", "vae*"]), "vae.checkpoints"],
    package_dir={"vae.checkpoints": "checkpoints"},
)
