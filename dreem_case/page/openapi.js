// The OpenAPI document as a page. With a validator it would ask another host to judge the document.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#document", validatorUrl: null });
