"""Makes the name TALKLORA known to PEFT, which has no official way in for a method of another package."""

from __future__ import annotations

from typing import Any, cast

import peft
from peft.utils import PeftType

NAME = "TALKLORA"
_ADDED_BY = "llmkit.talklora"


def talklora_type() -> PeftType:
    """Returns the member `TALKLORA` of PEFT's enumeration, added at the first call."""
    return add_peft_type(NAME, _ADDED_BY)


def add_peft_type(name: str, added_by: str) -> PeftType:
    """Returns the member `name` of PEFT's enumeration of methods, added at the first call by the package `added_by`.

    RuntimeError where PEFT or another package has a method of that name: two methods under one name would read each
    other's adapters.
    """
    member: Any = PeftType.__members__.get(name)
    if member is None:
        member = str.__new__(PeftType, name)
        member._name_, member._value_ = name, name
        member._sort_order_ = len(PeftType)
        member.added_by = added_by
        PeftType._member_names_.append(name)
        PeftType._member_map_[name] = member
        PeftType._value2member_map_[name] = member
        type.__setattr__(PeftType, name, member)
    elif getattr(member, "added_by", None) != added_by:
        raise RuntimeError(
            f"PEFT {peft.__version__} has its own {name}, and {added_by} cannot register beside it: use PEFT's, or "
            "install a PEFT without it"
        )
    return cast("PeftType", member)
