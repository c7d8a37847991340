"""HTTP in general: dependencies, middleware, sessions and error responses."""
