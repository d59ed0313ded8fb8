"""The condition language of queries (`when`, contract section 10).

`parse` makes expressions of JSON, `expression` and `stateful` say what they give for one record; `columns` and `prune`
say the same for many records and whole sections at once; `condition` and `evaluation` are the door.
"""

from lamina.records.condition.columns import Candidates
from lamina.records.condition.condition import Condition, compile_condition
from lamina.records.condition.directives import Directives
from lamina.records.condition.evaluation import Evaluation, Selected
from lamina.records.condition.legacy import Legacy
from lamina.records.condition.value import Duration

__all__ = [
    "Candidates",
    "Condition",
    "Directives",
    "Duration",
    "Evaluation",
    "Legacy",
    "Selected",
    "compile_condition",
]
