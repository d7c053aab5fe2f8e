"""Layouts: part and position of each point of a data set. One TOML file each in this folder; a new layout is a new file.

`load_layout` gives a layout by name, `read_layout` from a file of your own, `layout_of_query` from a list of points.
"""

from vtrack.layouts.files import CORE_PARTS as CORE_PARTS
from vtrack.layouts.files import layout_names as layout_names
from vtrack.layouts.files import layout_of_query as layout_of_query
from vtrack.layouts.files import load_layout as load_layout
from vtrack.layouts.files import read_layout as read_layout
from vtrack.layouts.layout import Layout as Layout
from vtrack.layouts.layout import points_of as points_of
