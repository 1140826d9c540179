"""Config fields of the trunk (lm.py), whatever its mixer."""

import dataclasses

from pathstar.errors import choose, require
from pathstar.models.layers import Trunk


@dataclasses.dataclass(frozen=True)
class ModelFields:
  """Config fields under `model.` of every architecture; the mixers add their own."""

  mixer: str = "attention"  # attention | s5 | s5_gated | mamba
  num_layers: int = 2  # blocks with weights of their own
  num_loops: int = 1  # times that the whole stack is applied
  inject: bool = False  # add the embedding again before every loop but the first
  loop_embedding: bool = False  # add a learned vector of its own before every loop
  width: int = 64  # residual stream
  mlp_ratio: int = 4  # width of the MLP over width; 0: no MLP
  positions: str = "learned"  # learned | rope | both | none; rope within attention, nothing in other mixers
  position_std: float | None = None  # std of learned positions at first; None: that of the embedding, a fifth of it beside rotary ones
  norm: str = "layernorm"  # layernorm | rmsnorm
  bias: bool = False  # linear maps and norms, all but the head, have a bias, which is 0 at first
  init: str = "fan_in"  # fan_in | gpt2 | normal (gpt2 at any depth) | mimetic (fan_in; attention: key = query, output = value transposed)
  tied_head: bool = False  # logits by the embedding's transpose
  dtype: str = "float32"  # compute type: float32 | bfloat16; parameters stay float32
  remat: bool = False  # recompute each block in the backward pass; on a TPU most of it is in any case
  scan_layers: bool | None = None  # one loop over layers (compiles fast) or unrolled (runs faster on CPU and GPU); None: by platform

  def __post_init__(self):
    for name in ("num_layers", "num_loops", "width"):
      require(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "an integer >= 1")
    require(self.mlp_ratio >= 0, "model.mlp_ratio", self.mlp_ratio, "an integer >= 0")
    choose("model.positions", self.positions, ("learned", "rope", "both", "none"))
    tables = self.positions in ("learned", "both")
    require(self.position_std is None or tables, "model.position_std", self.position_std,
            f"None with model.positions = {self.positions!r}, of which there is no table")
    require(self.position_std is None or self.position_std >= 0, "model.position_std", self.position_std, "a number >= 0, or None")
    choose("model.norm", self.norm, ("layernorm", "rmsnorm"))
    choose("model.init", self.init, ("fan_in", "gpt2", "normal", "mimetic"))
    choose("model.dtype", self.dtype, ("float32", "bfloat16"))

  def trunk(self) -> Trunk:
    names = [field.name for field in dataclasses.fields(Trunk) if field.name != "depth"]
    return Trunk(depth=self.num_layers * self.num_loops, **{name: getattr(self, name) for name in names})
