// Starts the page of documentation. Everything it loads comes from this hub: no validator, no fonts, no CDN.
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    validatorUrl: null,
  });
});
