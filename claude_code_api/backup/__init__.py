"""Backup and restore: one encrypted file, made while the gateway serves, from which it goes on (policy D4)."""

from claude_code_api.backup.making import Backup, back_up, database_file, note_made
from claude_code_api.backup.restoring import Restored, check, note_checked, restore

__all__ = ["Backup", "Restored", "back_up", "check", "database_file", "note_checked", "note_made", "restore"]
