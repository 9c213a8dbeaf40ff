"""Settings: typed, read from TOML and the environment."""
