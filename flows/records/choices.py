"""What can be chosen at the command line and in a request alike; imports nothing heavy."""

from typing import Literal

EngineName = Literal["processes", "dask", "ray"]
AskedDevice = Literal["auto", "cpu", "cuda"]
