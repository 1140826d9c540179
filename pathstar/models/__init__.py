"""Architectures: one trunk (lm.py), into which mixers plug.

A mixer is a Linen module with a field `trunk` and its own config fields (with defaults), and
    check()                        raises UserError if the fields do not fit the trunk
    __call__(x_BxTxD, num_last, max_length) -> (y_BxLxD, cache)    whole sequence; outputs at its num_last last positions
    step(x_BxD, cache, index)      -> (y_BxD, cache)               one token
    year, source                   of the table in the README
    architecture                   how tables and names of runs call it, if not by its name here
One that can look where it is told says `any_mask = True`, and its __call__ takes `free_from` too, the position from which on a token sees
all others, and not only those before it; and `beside`, with which tokens stand beside the sequence (LM.hidden_beside). A recurrence can't,
and objectives that need it refuse it. One with a method `per_row(batch, time)` says how many sequences it wants in each row of x, one after
another, and is told so. What one takes no notice of it says in `ignores`: config fields, or values of them, as "model.positions=rope".
Add one = one file + one line here.
"""

from pathstar.errors import choose
from pathstar.models.attention import Attention
from pathstar.models.fields import ModelFields
from pathstar.models.lm import LM
from pathstar.models.mamba import Mamba
from pathstar.models.s5 import S5, S5Gated

MIXERS = {
    "attention": Attention,
    "s5": S5,
    "s5_gated": S5Gated,
    "mamba": Mamba,
}

# Sizes by name, for configs: `config.model.update(PRESETS["mini"])`.
PRESETS = {
    # One block four times over: the lookup that is learned for one hop of a path is there for the next.
    "tiny": dict(num_layers=1, num_loops=4, inject=True, loop_embedding=True, width=64, num_heads=4, mlp_ratio=1, norm="rmsnorm",
                 positions="both", rope_base=100.0, init="mimetic", token_shift=True),
    "authors": dict(num_layers=6, width=384, num_heads=6, positions="learned", position_std=1.0, bias=True, init="normal", tied_head=True),
    # The smallest of Gu and Dao 2023 (arXiv 2312.00752): 129M parameters with its vocabulary of 50,280.
    "mamba_130m": dict(mixer="mamba", num_layers=24, width=768, mlp_ratio=0, positions="none", norm="rmsnorm", init="gpt2", tied_head=True),
    "mini": dict(num_layers=12, width=384, num_heads=6, positions="learned", init="gpt2", tied_head=True),
}


def build(fields: ModelFields, mixer_fields: dict, vocab_size: int, max_length: int) -> LM:
  """The model of a config's fields for sequences up to `max_length`. Raises UserError on fields that do not fit each other."""
  choose("model.mixer", fields.mixer, MIXERS)
  mixer = MIXERS[fields.mixer](fields.trunk(), **mixer_fields, parent=None)
  mixer.check()
  return LM(fields, mixer, vocab_size, max_length)
