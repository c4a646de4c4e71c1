//! CAs of real clusters: intermediates, SHA-1, two tiers, keys by other names.
