"""The kinds of picture, one file each.

They know how to draw themselves and which facts they show, no question and no model.
"""

from __future__ import annotations

from standin.draw.bar import draw_bar
from standin.draw.card import draw_card
from standin.draw.line import draw_line
from standin.draw.page import draw_page
from standin.draw.picture import Picture
from standin.draw.pie import draw_pie
from standin.draw.scene import draw_scene
from standin.draw.table import draw_table

DRAWERS = (draw_bar, draw_line, draw_pie, draw_table, draw_card, draw_scene, draw_page)

__all__ = ["DRAWERS", "Picture"]
