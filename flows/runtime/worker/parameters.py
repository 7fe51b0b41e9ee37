"""The parameters of flows, as the run form of the Prefect UI shows them: titles, bounds and choices.

Prefect takes a parameter's description from the flow's docstring, and its title from `json_schema_extra`.
"""

from typing import Annotated, Literal

from pydantic import Field

Symbol = Annotated[
    str, Field(pattern=r"^[^/\s]{1,20}/[^/\s]{1,20}$", max_length=41, json_schema_extra={"title": "Symbol"})
]
Account = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,15}$", max_length=16, json_schema_extra={"title": "Account (the pot)"})
]
Force = Annotated[bool, Field(json_schema_extra={"title": "Also where nothing asks for it"})]
Reason = Annotated[Literal["manual", "scheduled"], Field(json_schema_extra={"title": "How far"})]
