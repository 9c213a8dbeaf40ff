// Starts the bundled viewer. It knows OpenAPI 3.0 only, so it gets the page in that form.
window.SwaggerUIBundle({
  url: "/openapi-3.0.json",
  dom_id: "#viewer",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  persistAuthorization: false,
});
