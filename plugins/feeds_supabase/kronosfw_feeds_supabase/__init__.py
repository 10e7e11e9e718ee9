"""A feed that reads bars and dated events from a Supabase project, over Postgres or over REST."""
