"""Annotated photographs: `load_dataset("w68:PATH")`."""

from vtrack.data.dataset import Dataset as Dataset
from vtrack.data.shapes import outliers as outliers
from vtrack.data.sources import load_dataset as load_dataset
