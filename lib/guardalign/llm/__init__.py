"""The client for OpenAI-compatible servers, independent of the questions asked."""

from guardalign.llm.budget import BudgetReached, price_of
from guardalign.llm.client import Client
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.request import Message, Outcome, Request, Usage

__all__ = [
    "BudgetReached",
    "Client",
    "Endpoint",
    "EndpointError",
    "Message",
    "Outcome",
    "Request",
    "Usage",
    "price_of",
]
