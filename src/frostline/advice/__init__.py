"""An answer under a deadline: what to freeze, what it gives, and what more time would buy."""
