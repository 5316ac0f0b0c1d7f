"""The bundled sample service and the embedding example."""
