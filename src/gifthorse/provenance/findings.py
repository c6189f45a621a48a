"""What can be wrong with a file, in plain words: a finding, and the rule that it comes from."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, Protocol, final

from .rules import RULES, Level, Rule

Outcome = Literal["nothing-found", "found", "cannot-tell"]
RULE: Final[dict[str, Rule]] = {rule.id: rule for rule in RULES}


@final
@dataclass(frozen=True)
class Finding:
    """One thing that a look at a file has brought up.

    Attributes:
        rule: id of its rule, a key of ``RULE``.
        message: what was found, one sentence or two.
        file: the file, as it is named in the record; empty for a network in memory.
        place: where inside it: a member of an archive, a layer, a line; empty for the whole.
    """

    rule: str
    message: str
    file: str = ""
    place: str = ""

    @property
    def level(self) -> Level:
        """How grave it is."""
        return RULE[self.rule].level

    @property
    def leaves_open(self) -> bool:
        """Whether it speaks against nothing, but leaves a question without an answer."""
        return RULE[self.rule].leaves_open


class LeavesOpen(Protocol):
    """A finding, or the record of one."""

    @property
    def leaves_open(self) -> bool:
        """Whether it speaks against nothing, but leaves a question without an answer."""


def outcome_of(findings: Collection[LeavesOpen]) -> Outcome:
    """Found, if anything speaks against the file; cannot tell, if a question is left open."""
    if any(not finding.leaves_open for finding in findings):
        return "found"
    return "cannot-tell" if findings else "nothing-found"
