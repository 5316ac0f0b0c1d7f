"""HTTP: routes translate between bodies and services, and decide nothing themselves."""
