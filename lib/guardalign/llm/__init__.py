"""The one way to an OpenAI-compatible server. It does not know what it is asked."""

from guardalign.llm.budget import Budget, BudgetReached, Ledger, Price, PriceTable, Spent
from guardalign.llm.client import Client, Statistics
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.request import Message, Outcome, Request, Usage
from guardalign.llm.store import Delivered, Recording, Store

__all__ = [
    "Budget",
    "BudgetReached",
    "Client",
    "Delivered",
    "Endpoint",
    "EndpointError",
    "Ledger",
    "Message",
    "Outcome",
    "Price",
    "PriceTable",
    "Recording",
    "Request",
    "Spent",
    "Statistics",
    "Store",
    "Usage",
]
