"""Makes the name TALKLORA known to PEFT, which has no official way in for a method of another package."""

from __future__ import annotations

from typing import Any, cast

import peft
from peft.utils import PeftType

NAME = "TALKLORA"
_ADDED_BY = "llmkit.talklora"


def talklora_type() -> PeftType:
    """Returns the member `TALKLORA` of PEFT's enumeration, added at the first call.

    RuntimeError where PEFT has a TALKLORA of its own: two methods under one name would read each other's adapters.
    """
    member: Any = PeftType.__members__.get(NAME)
    if member is None:
        member = str.__new__(PeftType, NAME)
        member._name_, member._value_ = NAME, NAME
        member._sort_order_ = len(PeftType)
        member.added_by = _ADDED_BY
        PeftType._member_names_.append(NAME)
        PeftType._member_map_[NAME] = member
        PeftType._value2member_map_[NAME] = member
        type.__setattr__(PeftType, NAME, member)
    elif getattr(member, "added_by", None) != _ADDED_BY:
        raise RuntimeError(
            f"PEFT {peft.__version__} has its own {NAME}, and {_ADDED_BY} cannot register beside it: use PEFT's, or "
            "install a PEFT without it"
        )
    return cast("PeftType", member)
