"""The one way to an OpenAI-compatible server. It does not know what it is asked."""

from guardalign.llm.budget import BudgetReached, price_of
from guardalign.llm.client import Client
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.request import Message, Outcome, Request, Usage
from guardalign.llm.store import Store

__all__ = [
    "BudgetReached",
    "Client",
    "Endpoint",
    "EndpointError",
    "Message",
    "Outcome",
    "Request",
    "Store",
    "Usage",
    "price_of",
]
