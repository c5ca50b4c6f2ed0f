"""A stand-in for Anthropic's API on loopback: the upstream of the demo, the tests and the benchmark.

It speaks the Messages API as strictly as the real one and answers as a script in the prompt tells it
(`script.py` has the table). It never leaves the machine and knows no model: nothing it says is an answer of
Claude's.
"""

from claude_code_api.stand_in.accounts import api_key, oauth_token
from claude_code_api.stand_in.script import script
from claude_code_api.stand_in.server import StandIn

__all__ = ["StandIn", "api_key", "oauth_token", "script"]
