# SPDX-License-Identifier: Apache-2.0
"""So that notebooks written for AIC vLLM Proxy keep their import."""
