"""The audit log: who did what, in a chain that shows every entry which was changed, moved or left out (policy L1)."""

from claude_code_api.audit.chain import Entry, Fault
from claude_code_api.audit.listing import EntryFilter
from claude_code_api.audit.log import AuditLog, Change
from claude_code_api.audit.refusals import Refusals
from claude_code_api.audit.verification import Verified

__all__ = ["AuditLog", "Change", "Entry", "EntryFilter", "Fault", "Refusals", "Verified"]
