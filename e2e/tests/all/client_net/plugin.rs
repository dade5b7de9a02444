//! The client of the plugin's HTTP API against the real plugin.
