# SPDX-License-Identifier: Apache-2.0
"""from aic_vllm_proxy.client import VLLMProxyClient"""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from vllmgw_client import VLLMProxyClient, VLLMProxyError  # noqa: E402

__all__ = ["VLLMProxyClient", "VLLMProxyError"]
