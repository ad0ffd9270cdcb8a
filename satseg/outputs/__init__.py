"""What becomes of the names that users give to outputs: checked before any work, claimed while they are made."""
