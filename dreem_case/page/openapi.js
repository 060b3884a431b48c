"use strict";
// The OpenAPI document as a page. Without `validatorUrl: null` it would ask another host to judge the document.
SwaggerUIBundle({ url: "/openapi/openapi.json", dom_id: "#document", validatorUrl: null });
