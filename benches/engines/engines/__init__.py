"""What table engines do: inserts, merges, FINAL, reads by key, deletes and updates."""
