"""What goes in and out over HTTP, one module a noun; the OpenAPI page is made of these structs."""
