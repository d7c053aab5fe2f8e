"""Annotated photographs for training and evaluation: `load_dataset("w68:PATH")`.

`formats` reads the files of published data sets, `store` caches cropped faces, `scenes` composes pictures for the face
detector.
"""

from vtrack.data.dataset import Dataset as Dataset
from vtrack.data.shapes import outliers as outliers
from vtrack.data.sources import load_dataset as load_dataset
