"""What is learned. A task is a frozen dataclass of its config fields, NumPy code only, with

    examples(seed, split, index_B) -> prefix_BxP, target_BxL, weight_BxL, answer_BxL    pure; splits share no problem
    num_problems(), chance                       how many problems there are; exact match of a guess
    vocab_size, dummy                            number of tokens; the one that stands in for unseen answers, and pads
    prefix_length, target_length, answer_length  tokens, at most; the answer is all of the target, or follows a trace
    answers_vary                                 whether answers differ in length: padding behind them has weight 0 and is no answer
    separator                                    token of the target after which the answer begins; None: no trace
    branch                                       place in the answer of the token that chooses an arm of `degree`, or None
    to_text(batch), from_text(lines)             its file format
    problems(batch) -> uint64_B                  the same for examples of one problem; without it, no examples from files (files.py)
    slug, str(task)                              its name in run ids and in tables
    year, source                                 of the table in the README

A task whose answers are paths through a graph, as those with a branch are, also gives, of each example, start_B and goal_B, the first and
the last node of the path, and arms_BxDxL, all `degree` paths from the start in random order, padded with the dummy. What draws or measures
asks for these keys. A task may also define

    names_goal  whether the question names the path's last node (it does, if left out)
    siblings    examples index * siblings and those after it belong together: in a batch, and through shuffled epochs
    num_test_problems    how many the test split has, if that is not an eighth of all
    drawn_alone    {field: its value} of what examples from files do not have, or {}
    groups      {key of examples: its values}: kinds of examples, whose exact match is measured apart
Add one = one file + one line here.
"""

from pathstar.tasks.addition import Addition
from pathstar.tasks.in_weights import InWeights
from pathstar.tasks.path_star import PathStar

TASKS = {
    "path_star": PathStar,
    "addition": Addition,
    "in_weights": InWeights,
}
