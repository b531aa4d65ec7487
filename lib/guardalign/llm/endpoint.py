"""Settings of one OpenAI-compatible endpoint: its address and how requests are made."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from guardalign.config.sections import Server
from guardalign.errors import GuardalignError

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


class EndpointError(GuardalignError):
    """The endpoint refuses every request (key, model, address), or stopped answering."""


class Endpoint(Server):
    """A server with a model: what a client asks."""

    model: str

    @classmethod
    def of(cls, section: Server) -> Endpoint:
        """The endpoint that a section of the parameters describes."""
        return cls(**{name: getattr(section, name) for name in Server.model_fields})

    @property
    def local(self) -> bool:
        return urlsplit(self.base_url).hostname in LOCAL_HOSTS

    def key(self) -> str:
        """The API key from the environment. Raises EndpointError if it is none, or a remote endpoint has none."""
        value = os.environ.get(self.api_key_env, "").strip()
        if not all("!" <= each <= "~" for each in value):
            raise EndpointError(
                f"The environment variable {self.api_key_env} holds no API key: there are blanks or characters in it "
                f"that no key has. Copy the key again."
            )
        if value:
            return value
        if self.local:
            return "none"
        raise EndpointError(
            f"No API key: set the environment variable {self.api_key_env} for {self.base_url} "
            f"(`api_key_env` names another variable). The key is read from the environment alone."
        )

    def sampling(self, ask: int = 0) -> dict[str, Any]:
        """The request's fields that determine the reply, for the first (0) or a later ask."""
        fields: dict[str, Any] = {"model": self.model, self.length_field: self.max_tokens}
        if self.temperature is not None:
            fields["temperature"] = self.temperature if ask == 0 else max(self.temperature, self.second_temperature)
        if self.seed is not None:
            fields["seed"] = self.seed + ask
        return fields

    def identity(self) -> dict[str, Any]:
        """What of the endpoint goes into a reply's key: whatever could change the reply, and nothing else."""
        return {"base_url": self.base_url, "reply_format": self.reply_format, **self.sampling()}
