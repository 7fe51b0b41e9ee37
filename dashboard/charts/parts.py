"""What all charts share: colours that are told apart in light and dark, axes, tooltips. Pure."""

from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]

# Okabe and Ito's palette, which colour-blind readers can distinguish; mid tones, seen on light and dark ground.
BLUE, ORANGE, GREY, GREEN, RED, PURPLE = "#0072b2", "#e69f00", "#8a94a0", "#159a6c", "#d55e00", "#cc79a7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56b4e9", RED, "#a68a00", "#6f7bd1")


def base(**more: Any) -> Spec:
    """A chart that does not move when its data are renewed."""
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "left": 0, "type": "scroll", "itemGap": 14},
        **more,
    }


def amount_axis(**more: Any) -> Spec:
    """A vertical axis of amounts that begins where the amounts do."""
    return {"type": "value", "scale": True, **more}


def tooltip(*lines: str) -> Spec:
    """What is shown of the moment under the pointer. `{@name}` stands for a column of the data."""
    return {"trigger": "axis", "formatter": "<br/>".join(lines)}
