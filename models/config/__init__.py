"""Params and everything in it: frozen, strict, every field with its unit."""

from models.config.data import DataParams, Fractions, SplitName
from models.config.loading import load_params
from models.config.params import Params
from models.config.policies import (
    DriftParams,
    EvaluationParams,
    GateParams,
    GuardParams,
    InboxParams,
    NotifyParams,
    RetentionParams,
    RetrainingParams,
)
from models.config.search import SearchParams
from models.config.space import Point, apply_point
from models.config.trial import TrialConfig
from models.networks import CnnConfig, MlpConfig, NetworkConfig, ResnetConfig, RnnConfig
from models.optimizers import AdamConfig, GdConfig, OptimizerConfig, SgdConfig
from models.record import Record, read_record, read_record_lines

__all__ = [
    "AdamConfig",
    "CnnConfig",
    "DataParams",
    "DriftParams",
    "EvaluationParams",
    "Fractions",
    "GateParams",
    "GdConfig",
    "GuardParams",
    "InboxParams",
    "MlpConfig",
    "NetworkConfig",
    "NotifyParams",
    "OptimizerConfig",
    "Params",
    "Point",
    "Record",
    "ResnetConfig",
    "RetentionParams",
    "RetrainingParams",
    "RnnConfig",
    "SearchParams",
    "SgdConfig",
    "SplitName",
    "TrialConfig",
    "apply_point",
    "load_params",
    "read_record",
    "read_record_lines",
]
