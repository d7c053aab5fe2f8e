"""Layouts: what each point of a data set is. One TOML file each, beside this module; a new data set is a new file."""

from vtrack.layouts.files import CORE_PARTS as CORE_PARTS
from vtrack.layouts.files import layout_names as layout_names
from vtrack.layouts.files import layout_of_query as layout_of_query
from vtrack.layouts.files import load_layout as load_layout
from vtrack.layouts.files import read_layout as read_layout
from vtrack.layouts.layout import Layout as Layout
from vtrack.layouts.layout import points_of as points_of
