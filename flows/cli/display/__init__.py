"""What people read at the terminal: tables, and the JSON documents beside them."""
