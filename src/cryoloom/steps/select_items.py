"""Select series or tomograms: by name, by the figures of earlier steps, or by hand.

An item that is not selected is left out with a reason: it is neither failed nor done, and `status`, the
report and the log show it. The selection is a step, so it is repeated on other data. A condition compares
figures with numbers, for example ``defocus_um < 6 and fit_resolution_angstrom < 10``. It may use the figures
of every step before this one by their names (`cryoloom results` lists them, and this page gives their
meaning), and ``n_tilts``, ``n_included``, ``lowest_tilt_deg``, ``highest_tilt_deg``, ``dose_per_angstrom2``
and ``pixel_size_angstrom`` of the series. ``_median`` or ``_mean`` in the name of a figure may be omitted,
and a length in angstrom can be given in nm or um. An item is left out, with the reason, if a figure in the
condition is not measurable. Changing the selection does not recompute any result.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from cryoloom.algorithms.series.conditions import parse_condition, unmeasured_names
from cryoloom.contract.item_names import is_named
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import UserInputError
from cryoloom.model import Item, LeftOut

__all__ = ["SelectItemsParams", "select_items"]


class SelectItemsParams(StepParams):
    """Parameters of the selection. An item must meet all of them."""

    names: str = Field("*", description="Names to select, with * and ?, separated by commas.")
    not_names: str = Field("", description="Names to leave out, with * and ?, separated by commas.")
    where: str = Field("", description="Condition on figures, e.g. 'defocus_um < 6 and n_included > 30'.")
    reason: str = Field(
        "", description="Reason, if names are chosen by hand; stored with the items left out."
    )

    @field_validator("where")
    @classmethod
    def _can_be_read(cls, text: str) -> str:
        try:
            if text.strip():
                parse_condition(text)
        except UserInputError as error:
            raise ValueError(error.message) from error
        return text


@step(
    "select_items",
    per="tilt_series",
    needs=object,
    gives=object,
    bytes_needed=lambda item, params: 1 << 20,
    reads_figures=True,
    methods="Of {n_all} items {n_done} were selected[ (condition: {where})].",
)
def select_items(item: Item, params: SelectItemsParams, context: StepContext) -> Item | LeftOut:
    """Pass items on that are selected by name and whose figures meet a condition; leave others out."""
    by_hand = params.reason or "by name"
    if params.not_names and is_named(item.name, params.not_names):
        return LeftOut(f"{by_hand}: {item.name} is one of {params.not_names}")
    if not is_named(item.name, params.names):
        return LeftOut(f"{by_hand}: {item.name} is none of {params.names}")
    if params.where.strip():
        condition = parse_condition(params.where)
        figures = {**item.facts(), **context.upstream_figures}
        unknown = unmeasured_names(condition.names, figures, context.upstream_not_measurable)
        if unknown:
            why = "; ".join(f"{name} is not measurable: {reason}" for name, reason in unknown.items())
            return LeftOut(f"not {condition.text}: {why}")
        failing = condition.failing(figures)
        if failing:
            return LeftOut(failing)
    return item
