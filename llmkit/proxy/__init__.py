"""A repair in front of live traffic: a proxy for OpenAI-compatible servers that changes nothing but texts of users."""

from llmkit.proxy.app import Proxy
from llmkit.proxy.opening import opened
from llmkit.proxy.server import Running

__all__ = ["Proxy", "Running", "opened"]
