"""The ground floor: small parts that every other part uses."""
