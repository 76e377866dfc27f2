"""How the page looks: paper and pine, system fonts (nothing is fetched), enough contrast in light and dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_HERE = Path(__file__).parent
CSS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((_HERE / "css").glob("*.css")))
FAVICON = _HERE / "icon.svg"

_PINE = gr.themes.Color(
    name="pine",
    c50="#eef7f5",
    c100="#d6ebe7",
    c200="#aed8d1",
    c300="#7dbfb6",
    c400="#4ba399",
    c500="#2a877e",
    c600="#176b64",
    c700="#135651",
    c800="#124542",
    c900="#103937",
    c950="#062120",
)
_PAPER = gr.themes.Color(
    name="paper",
    c50="#faf9f6",
    c100="#f3f1ec",
    c200="#e4e1d9",
    c300="#cdc9bf",
    c400="#9b988f",
    c500="#77756d",
    c600="#595852",
    c700="#41423f",
    c800="#2a2d2c",
    c900="#1c2020",
    c950="#131717",
)


def theme() -> gr.themes.Base:
    """The one theme of all tabs."""
    return gr.themes.Base(
        primary_hue=_PINE,
        secondary_hue=_PINE,
        neutral_hue=_PAPER,
        radius_size="md",
        spacing_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    ).set(**_surfaces(), **_buttons(), **_fields())


def _surfaces() -> dict[str, str]:
    return {
        "body_background_fill": "*neutral_100",
        "body_background_fill_dark": "*neutral_950",
        "body_text_color": "*neutral_900",
        "body_text_color_dark": "*neutral_100",
        "body_text_color_subdued": "*neutral_600",
        "body_text_color_subdued_dark": "*neutral_300",
        "background_fill_primary": "white",
        "background_fill_primary_dark": "*neutral_900",
        "background_fill_secondary": "*neutral_50",
        "background_fill_secondary_dark": "*neutral_800",
        "border_color_primary": "*neutral_200",
        "border_color_primary_dark": "*neutral_700",
        "border_color_accent": "*primary_300",
        "border_color_accent_dark": "*primary_700",
        "block_background_fill": "white",
        "block_background_fill_dark": "*neutral_900",
        "block_border_color": "*neutral_200",
        "block_border_color_dark": "*neutral_700",
        "block_border_width": "1px",
        "block_shadow": "none",
        "block_label_text_color": "*neutral_700",
        "block_label_text_color_dark": "*neutral_200",
        "block_label_background_fill": "*neutral_50",
        "block_label_background_fill_dark": "*neutral_800",
        "block_title_text_color": "*neutral_800",
        "block_title_text_color_dark": "*neutral_100",
        "block_title_text_weight": "600",
        "block_info_text_color": "*neutral_600",
        "block_info_text_color_dark": "*neutral_300",
        "link_text_color": "*primary_700",
        "link_text_color_hover": "*primary_800",
        "link_text_color_visited": "*primary_700",
        "link_text_color_active": "*primary_800",
        "link_text_color_dark": "*primary_300",
        "link_text_color_hover_dark": "*primary_200",
        "link_text_color_visited_dark": "*primary_300",
        "link_text_color_active_dark": "*primary_200",
        "color_accent": "*primary_600",
        "color_accent_soft": "*primary_50",
        "color_accent_soft_dark": "*primary_900",
        "loader_color": "*primary_600",
        "loader_color_dark": "*primary_400",
    }


def _buttons() -> dict[str, str]:
    return {
        "button_primary_background_fill": "*primary_600",
        "button_primary_background_fill_hover": "*primary_700",
        "button_primary_background_fill_dark": "*primary_400",
        "button_primary_background_fill_hover_dark": "*primary_300",
        "button_primary_border_color": "*primary_600",
        "button_primary_border_color_dark": "*primary_400",
        "button_primary_text_color": "white",
        "button_primary_text_color_dark": "*primary_950",
        "button_secondary_background_fill": "white",
        "button_secondary_background_fill_hover": "*neutral_100",
        "button_secondary_background_fill_dark": "*neutral_800",
        "button_secondary_background_fill_hover_dark": "*neutral_700",
        "button_secondary_border_color": "*neutral_300",
        "button_secondary_border_color_dark": "*neutral_600",
        "button_secondary_text_color": "*neutral_800",
        "button_secondary_text_color_dark": "*neutral_100",
        "button_cancel_background_fill": "white",
        "button_cancel_background_fill_hover": "#fdf0ee",
        "button_cancel_background_fill_dark": "*neutral_800",
        "button_cancel_background_fill_hover_dark": "#3d211d",
        "button_cancel_border_color": "#dcaaa3",
        "button_cancel_border_color_dark": "#7a3f37",
        "button_cancel_text_color": "#9b2c1f",
        "button_cancel_text_color_dark": "#f3b6ac",
        "button_cancel_text_color_hover": "#9b2c1f",
        "button_cancel_text_color_hover_dark": "#f3b6ac",
        "button_border_width": "1px",
        "button_large_text_weight": "600",
        "button_small_text_weight": "500",
    }


def _fields() -> dict[str, str]:
    return {
        "input_background_fill": "white",
        "input_background_fill_dark": "*neutral_950",
        "input_border_width": "1px",
        "input_border_color": "*neutral_300",
        "input_border_color_dark": "*neutral_600",
        "input_border_color_focus": "*primary_600",
        "input_border_color_focus_dark": "*primary_400",
        "input_placeholder_color": "*neutral_500",
        "input_placeholder_color_dark": "*neutral_400",
        "checkbox_background_color_selected": "*primary_600",
        "checkbox_background_color_selected_dark": "*primary_500",
        "checkbox_border_color": "*neutral_400",
        "checkbox_border_color_dark": "*neutral_500",
        "checkbox_label_background_fill": "white",
        "checkbox_label_background_fill_dark": "*neutral_900",
        "slider_color": "*primary_600",
        "slider_color_dark": "*primary_400",
        "table_border_color": "*neutral_200",
        "table_border_color_dark": "*neutral_700",
    }
