// The OpenAPI document as a page. With a validator it would ask another host to judge the document.
// There is one server, and the box to choose it in has no name that is read out.
const withoutServers = () => ({ wrapComponents: { ServersContainer: () => () => null } });
SwaggerUIBundle({ url: "openapi.json", dom_id: "#document", validatorUrl: null, plugins: [withoutServers] });
