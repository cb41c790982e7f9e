"""Choices common to the command line and requests; imports nothing heavy."""

from typing import Literal

EngineName = Literal["processes", "dask", "ray"]
AskedDevice = Literal["auto", "cpu", "cuda"]
