"""The entry of xpnet's tabular estimators in TabArena's registry of models."""

from tabarena.models._method_metadata import MethodMetadata
from tabarena.models._model_info import ModelInfo

from .hpo import gen_xpnet
from .model import XpnetTabularModel

xpnet_method_metadata = MethodMetadata(
    method="xpnet",
    method_type="config",
    display_name="xpnet",
    compute="cpu",
    ag_key=XpnetTabularModel.ag_key,
    config_default="xpnet_c1_BAG_L1",
    can_hpo=True,
    is_bag=True,
    verified=False,
)

xpnet_info = ModelInfo(
    model_cls=XpnetTabularModel,
    search_space=gen_xpnet,
    method_metadata=xpnet_method_metadata,
    pip_extra=("xpnet",),
)
