"""The database: its tables, its sessions, its migrations."""
